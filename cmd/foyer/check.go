package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	"foyer/middleware/eventlog/sanitize"
	"foyer/middleware/server"
)

func checkCommand(cfg *Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Show how each user can log in, and problems in the files",
		Long: "Show how each user can log in with these settings, and problems in the files. It changes nothing,\n" +
			"and fails if there is a problem.",
		Args: arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.check(); err != nil {
				return err
			}
			return check(cfg, cmd.OutOrStdout())
		},
	}
	cfg.addFlags(cmd.Flags())
	return cmd
}

// report is the result of check.
type report struct {
	names       []string // in the order of the files
	schemes     map[string]string
	keys        map[string][]authorizedkeys.Key
	authorities []string
	hostKeys    []hostkeys.Key
	problems    []error
}

func check(cfg *Config, w io.Writer) error {
	r := &report{schemes: map[string]string{}, keys: map[string][]authorizedkeys.Key{}}
	r.readPasswords(cfg)
	r.readKeys(cfg)
	r.readAuthorities(cfg)
	r.readHostKeys(cfg)
	r.readTexts(cfg)
	r.print(cfg, w)
	if len(r.problems) > 0 {
		return fmt.Errorf("problems found: %d", len(r.problems))
	}
	return nil
}

// add adds a problem. A missing file is none, because the first start creates it, or it is optional.
func (r *report) add(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.problems = append(r.problems, err)
	}
}

func (r *report) readPasswords(cfg *Config) {
	file, err := passwords.Open(cfg.Passwords, passwords.Options{Plaintext: cfg.Plaintext})
	if err != nil {
		r.add(err)
		return
	}
	r.problems = append(r.problems, file.Warnings()...)
	for _, user := range file.Users() {
		r.names = append(r.names, user.Name)
		r.schemes[user.Name] = user.Scheme
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

// readHostKeys also checks that the algorithms allow one of the host keys. Otherwise the server would not start.
func (r *report) readHostKeys(cfg *Config) {
	keys, err := hostkeys.Load(cfg.HostKeys)
	r.add(err)
	if err != nil || len(keys) == 0 {
		return
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
	for _, read := range []func() (string, error){cfg.message, cfg.greeting} {
		if _, err := read(); err != nil {
			r.problems = append(r.problems, err) // also if it is missing, because it is configured
		}
	}
}

func (r *report) print(cfg *Config, w io.Writer) {
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
	for _, problem := range r.problems {
		fmt.Fprintln(w, "problem:", problem)
		if hint := cli.Hint(problem); hint != "" {
			fmt.Fprintln(w, "   hint:", hint)
		}
	}
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

func usableMethods(cfg *Config, scheme string, hasKey bool) []string {
	var usable []string
	for _, combination := range cfg.Auth {
		steps := strings.Split(combination, "+")
		if slices.Contains(steps, "password") && scheme == "" || slices.Contains(steps, "publickey") && !hasKey {
			continue
		}
		usable = append(usable, strings.Replace(combination, "password", "password ("+scheme+")", 1))
	}
	return usable
}

// certificateMethods returns the configured combinations that accept a certificate, which is used as a key.
func certificateMethods(cfg *Config) string {
	return alternatives(slices.DeleteFunc(slices.Clone(cfg.Auth), func(combination string) bool {
		return !slices.Contains(strings.Split(combination, "+"), "publickey")
	}))
}

func alternatives(combinations []string) string {
	if len(combinations) == 0 {
		return "cannot log in"
	}
	return strings.Join(combinations, ", or ")
}
