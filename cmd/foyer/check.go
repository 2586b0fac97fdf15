package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"charm.land/ssh"
	"github.com/spf13/cobra"
	gossh "golang.org/x/crypto/ssh"

	"foyer/cmd/cli"
	"foyer/hostkeys"
	"foyer/middleware"
	"foyer/middleware/auth/authorizedkeys"
	"foyer/middleware/auth/keyfile"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/auth/userca"
	"foyer/middleware/auth/username"
	"foyer/middleware/eventlog/sanitize"
	"foyer/middleware/server"
	"foyer/middleware/watchfile"
)

func checkCommand(cfg *Config) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Show how each user can log in, and problems in the settings and files",
		Long: "Show how each user can log in with these settings, and problems in everything that a start reads. It changes\n" +
			"nothing, may run beside a server, and fails if there is a problem. Run it as the user that runs the server.",
		Args: arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := check(cfg, cfg.load(cmd.Flags(), os.Getenv))
			if asJSON {
				if err := r.printJSON(cfg, cmd.OutOrStdout()); err != nil {
					return err
				}
			} else {
				r.print(cfg, cmd.OutOrStdout())
			}
			if len(r.problems) > 0 {
				return fmt.Errorf("problems found: %d", len(r.problems))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cfg.settings.AddFlags(cmd.Flags())
	return cmd
}

// report is the result of check.
type report struct {
	names       []string // in the order of the files
	schemes     map[string]string
	keys        map[string][]authorizedkeys.Key
	authorities []string
	missing     error // of the password file
	hostKeys    []hostkeys.Key
	problems    []error
	warnings    []error
}

// check reads everything that a start would read. The problems are those of the settings.
func check(cfg *Config, problems []error) *report {
	r := &report{schemes: map[string]string{}, keys: map[string][]authorizedkeys.Key{}, problems: problems}
	if cfg.Open {
		r.warn("everybody is let in without a password", "")
	} else {
		r.readPasswords(cfg)
		r.readKeys(cfg)
		r.readAuthorities(cfg)
		r.findLockedOut(cfg)
	}
	if cfg.Plaintext {
		r.warn("plain-text passwords are accepted", "run: foyer user hash")
	}
	r.readHostKeys(cfg)
	r.readTexts(cfg)
	r.readShare(cfg)
	for name, path := range map[string]string{"log": cfg.LogFile, "fail-log": cfg.FailLog} {
		if path != "" && path != "-" {
			r.addNamed(name, watchfile.Appendable(path))
		}
	}
	r.addNamed("limits", cfg.Validate())
	return r
}

// addNamed adds a problem of a setting.
func (r *report) addNamed(name string, err error) {
	if err != nil {
		r.problems = append(r.problems, fmt.Errorf("%s: %w", name, err))
	}
}

// warn adds a warning, with a hint unless that is empty.
func (r *report) warn(text, hint string) {
	r.warnings = append(r.warnings, cli.With(errors.New(text), hint))
}

// add adds a problem. A missing file is none, because the first start creates it, or it is optional.
func (r *report) add(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.problems = append(r.problems, err)
	}
}

func (r *report) readPasswords(cfg *Config) {
	users, problems := passwords.Check(cfg.Passwords, cfg.Plaintext)
	for _, err := range problems {
		r.add(err)
		if errors.Is(err, fs.ErrNotExist) {
			r.missing = err
			r.checkGuest(cfg)
		}
	}
	for _, user := range users {
		r.names = append(r.names, user.Name)
		r.schemes[user.Name] = user.Scheme
	}
}

// checkGuest adds a problem if a first start with passwords could not create its user.
func (r *report) checkGuest(cfg *Config) {
	if cfg.Guest == "" || len(usableMethods(cfg, "", true)) == len(cfg.Auth) {
		return
	}
	if _, err := guestPassword(cfg.Guest); err != nil {
		r.problems = append(r.problems, err)
	}
}

func (r *report) readKeys(cfg *Config) {
	keyUsers, err := authorizedkeys.Open(cfg.Keys, authorizedkeys.Options{}).Users()
	if err = cfg.keysProblem(err); err != nil {
		r.problems = append(r.problems, err)
	}
	for _, user := range keyUsers {
		if !slices.Contains(r.names, user.Name) {
			r.names = append(r.names, user.Name)
		}
		r.keys[user.Name] = user.Keys
		for _, err := range user.Problems {
			r.add(err)
		}
	}
}

// findLockedOut adds a problem for each user who cannot log in with these settings.
func (r *report) findLockedOut(cfg *Config) {
	for _, name := range r.names {
		if r.methods(cfg, name) == lockedOut {
			err := fmt.Errorf("%s cannot log in with --auth %s", sanitize.String(name, username.Max), strings.Join(cfg.Auth, ","))
			r.problems = append(r.problems, cli.With(err, "run: "+addCommand(cfg, watchfile.Quote(name), r.schemes[name], len(r.keys[name]) > 0)))
		}
	}
}

// addCommand returns the command that adds what a user who cannot log in lacks. Of two ways it is the one with a password.
func addCommand(cfg *Config, name, scheme string, hasKey bool) string {
	password := "foyer user add " + name
	key := password + " --key FILE"
	switch {
	case len(usableMethods(cfg, "argon2id", hasKey)) > 0:
		return password
	case len(usableMethods(cfg, scheme, true)) > 0:
		return key
	}
	return password + " && " + key
}

func (r *report) readAuthorities(cfg *Config) {
	if cfg.UserCA == "" {
		return
	}
	authorities, err := userca.Open(cfg.UserCA, userca.Options{Revoked: cfg.Revoked, Warn: r.add})
	if err != nil {
		r.problems = append(r.problems, err) // also if it is missing, because it is configured
		return
	}
	r.authorities = authorities.Keys()
}

// readHostKeys also checks that the algorithms allow one of the host keys. Otherwise the server would not start. A server
// that has host keys has started before, and its password file existed then.
func (r *report) readHostKeys(cfg *Config) {
	keys, err := hostkeys.Load(cfg.HostKeys)
	r.add(err)
	if err != nil || len(keys) == 0 {
		return
	}
	if r.missing != nil {
		r.problems = append(r.problems, cli.With(r.missing, "restore the file, or run: foyer user add NAME"))
	}
	r.hostKeys = keys
	for _, key := range keys {
		if key.Problem != nil {
			r.problems = append(r.problems, key.Problem)
		}
	}
	srv := &ssh.Server{}
	r.add(cmp.Or(server.HostKeys(keys)(srv), middleware.Algorithms(cfg.Algorithms).Server(srv)))
}

func (r *report) readTexts(cfg *Config) {
	_, err := openTexts(cfg, slog.New(slog.DiscardHandler))
	r.problems = append(r.problems, cli.Each(err)...) // also if they are missing, because they are configured
	problems, warnings := cfg.checkRules(time.Now())
	r.problems, r.warnings = append(r.problems, problems...), append(r.warnings, warnings...)
	r.readMaintenance(cfg, time.Now())
}

func (r *report) print(cfg *Config, w io.Writer) {
	if cfg.Open {
		fmt.Fprintln(w, "everybody\tno authentication (--open)")
	}
	for _, name := range r.names {
		fmt.Fprintf(w, "%s\t%s\n", name, r.methods(cfg, name))
		for _, key := range r.keys[name] {
			// The owner of a key writes its comment, so the comment is untrusted.
			facts := []string{
				key.Type, key.Fingerprint, sanitize.String(key.Options, keyfile.MaxLine), sanitize.String(key.Comment, keyfile.MaxLine),
			}
			fmt.Fprintf(w, "\t%s\n", strings.Join(slices.DeleteFunc(facts, func(s string) bool { return s == "" }), " "))
		}
	}
	for _, key := range r.authorities {
		fmt.Fprintf(w, "users with a certificate\t%s\n\tsigned by %s\n", certificateMethods(cfg), key)
	}
	for _, key := range r.hostKeys {
		printCertificate(w, key)
	}
	printAll(w, "problem:", r.problems)
	printAll(w, "warning:", r.warnings)
}

func printAll(w io.Writer, kind string, all []error) {
	for _, err := range all {
		fmt.Fprintln(w, kind, err)
		if hint := hintFor(err); hint != "" {
			fmt.Fprintln(w, "   hint:", hint)
		}
	}
}

// hintFor returns the hint for a problem. A file that belongs to somebody else can probably be read by the server.
func hintFor(err error) string {
	file, ok := errors.AsType[*watchfile.Error](err)
	if ok && errors.Is(err, fs.ErrPermission) {
		if owner := watchfile.Owner(file.Path); owner != "" {
			return "if " + owner + " runs the server, run: sudo -u " + owner + " foyer check"
		}
	}
	return cli.Hint(err)
}

func printCertificate(w io.Writer, key hostkeys.Key) {
	if key.Certificate == nil {
		return
	}
	cert, until := key.Certificate.PublicKey().(*gossh.Certificate), "forever"
	if cert.ValidBefore != gossh.CertTimeInfinity {
		until = "until " + time.Unix(int64(cert.ValidBefore), 0).Format(time.RFC3339)
	}
	facts := sanitize.String(fmt.Sprintf("%s for %s, valid %s", cert.KeyId, strings.Join(cert.ValidPrincipals, ","), until), keyfile.MaxLine)
	fmt.Fprintf(w, "host certificate\t%s\n\t%s signed by %s\n", facts, key.Path, gossh.FingerprintSHA256(cert.SignatureKey))
}

// methods returns the configured combinations of methods with which a user can log in.
func (r *report) methods(cfg *Config, name string) string {
	scheme, hasKey := r.schemes[name], len(r.keys[name]) > 0
	usable := usableMethods(cfg, scheme, hasKey)
	// Any user may have a certificate; the server learns about it at login.
	if len(usable) == 0 && len(r.authorities) > 0 && len(usableMethods(cfg, scheme, true)) > 0 {
		return "cannot log in without a certificate"
	}
	return alternatives(usable)
}

// usableMethods returns the configured combinations that a user with these credentials can complete.
func usableMethods(cfg *Config, scheme string, hasKey bool) []string {
	var usable []string
	for _, combination := range cfg.Auth {
		steps := strings.Split(combination, "+")
		for i, step := range steps {
			if step == "password" || step == "keyboard-interactive" { // which asks for the password
				steps[i] = step + " (" + scheme + ")"
			}
		}
		shown := strings.Join(steps, "+")
		if shown != combination && scheme == "" || slices.Contains(steps, "publickey") && !hasKey {
			continue
		}
		usable = append(usable, shown)
	}
	return usable
}

// certificateMethods returns the configured combinations that accept a certificate, which is used as a key.
func certificateMethods(cfg *Config) string {
	return alternatives(slices.DeleteFunc(slices.Clone(cfg.Auth), func(combination string) bool {
		return !slices.Contains(strings.Split(combination, "+"), "publickey")
	}))
}

const lockedOut = "cannot log in"

func alternatives(combinations []string) string {
	if len(combinations) == 0 {
		return lockedOut
	}
	return strings.Join(combinations, ", or ")
}
