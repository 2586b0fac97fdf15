package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"charm.land/ssh"
	"github.com/spf13/cobra"

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
		Short: "Say how each user could log in, and what is wrong with the files",
		Long: "Say how each user could log in with these settings, and what is wrong with the files. It changes nothing,\n" +
			"and fails where something is wrong.",
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

// report is what check finds out.
type report struct {
	names       []string // in the order of the files
	schemes     map[string]string
	keys        map[string][]authorizedkeys.Key
	authorities []string
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

// note keeps what is wrong. A file that is not there is not wrong: a first start makes it, or nobody needs it.
func (r *report) note(err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.problems = append(r.problems, err)
	}
}

func (r *report) readPasswords(cfg *Config) {
	file, err := passwords.Open(cfg.Passwords, passwords.Options{Plaintext: cfg.Plaintext})
	if err != nil {
		r.note(err)
		return
	}
	r.problems = append(r.problems, file.Warnings()...)
	for _, user := range file.Users() {
		r.names = append(r.names, user.Name)
		r.schemes[user.Name] = user.Scheme
	}
}

func (r *report) readKeys(cfg *Config) {
	holders, err := authorizedkeys.Open(cfg.Keys, authorizedkeys.Options{}).Users()
	r.note(err)
	for _, user := range holders {
		if !slices.Contains(r.names, user.Name) {
			r.names = append(r.names, user.Name)
		}
		r.keys[user.Name] = user.Keys
		for _, err := range user.Problems {
			r.note(err)
		}
	}
}

func (r *report) readAuthorities(cfg *Config) {
	if cfg.UserCA == "" {
		return
	}
	authorities, err := userca.Open(cfg.UserCA, userca.Options{Revoked: cfg.Revoked, Warn: r.note})
	if err != nil {
		r.problems = append(r.problems, err) // also where it is not there: it was asked for
		return
	}
	r.authorities = authorities.Keys()
}

// readHostKeys also looks whether one is left that the algorithms would show, or the server would not start.
func (r *report) readHostKeys(cfg *Config) {
	keys, err := hostkeys.Load(cfg.HostKeys)
	r.note(err)
	if err != nil || len(keys) == 0 {
		return
	}
	srv := &ssh.Server{}
	r.note(cmp.Or(server.HostKeys(keys)(srv), middleware.Algorithms(cfg.Algorithms).Server(srv)))
}

func (r *report) readTexts(cfg *Config) {
	for _, read := range []func() (string, error){cfg.message, cfg.greeting} {
		if _, err := read(); err != nil {
			r.problems = append(r.problems, err) // also where it is not there: it was asked for
		}
	}
}

func (r *report) print(cfg *Config, w io.Writer) {
	for _, name := range r.names {
		fmt.Fprintf(w, "%s\t%s\n", name, r.ways(cfg, name))
		for _, key := range r.keys[name] {
			// Who handed the key in chose its comment.
			facts := []string{
				key.Type, key.Fingerprint, sanitize.String(key.Options, keyfile.MaxLine), sanitize.String(key.Comment, keyfile.MaxLine),
			}
			fmt.Fprintf(w, "\t%s\n", strings.Join(slices.DeleteFunc(facts, func(s string) bool { return s == "" }), " "))
		}
	}
	for _, key := range r.authorities {
		fmt.Fprintf(w, "holders of a certificate\t%s\n\tof %s\n", waysOfHolders(cfg), key)
	}
	for _, problem := range r.problems {
		fmt.Fprintln(w, "problem:", problem)
		if hint := cli.Hint(problem); hint != "" {
			fmt.Fprintln(w, "   hint:", hint)
		}
	}
}

// ways says by which of the configured ways a user could log in.
func (r *report) ways(cfg *Config, name string) string {
	scheme, hasKey := r.schemes[name], len(r.keys[name]) > 0
	open := ways(cfg, scheme, hasKey)
	// Who is named in a certificate is known once it is shown.
	if len(open) == 0 && len(r.authorities) > 0 && len(ways(cfg, scheme, true)) > 0 {
		return "cannot log in without a certificate"
	}
	return alternatives(open)
}

func ways(cfg *Config, scheme string, hasKey bool) []string {
	var open []string
	for _, way := range cfg.Auth {
		steps := strings.Split(way, "+")
		if slices.Contains(steps, "password") && scheme == "" || slices.Contains(steps, "publickey") && !hasKey {
			continue
		}
		open = append(open, strings.Replace(way, "password", "password ("+scheme+")", 1))
	}
	return open
}

// waysOfHolders says which of the configured ways take a certificate, which stands for a key.
func waysOfHolders(cfg *Config) string {
	return alternatives(slices.DeleteFunc(slices.Clone(cfg.Auth), func(way string) bool {
		return !slices.Contains(strings.Split(way, "+"), "publickey")
	}))
}

func alternatives(open []string) string {
	if len(open) == 0 {
		return "cannot log in"
	}
	return strings.Join(open, ", or ")
}
