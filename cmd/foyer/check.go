package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"foyer/hostkeys"
	"foyer/middleware/authorizedkeys"
	"foyer/middleware/passwords"
	"foyer/middleware/userca"
)

func checkCommand(cfg *Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say how each user could log in, and what is wrong with the files",
		Args:  arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return err
			}
			return check(cfg, cmd.OutOrStdout())
		},
	}
	cfg.addFlags(cmd.Flags())
	return cmd
}

// check prints how each user could log in under cfg, and then all that is wrong. It changes nothing, and fails where
// something is wrong.
func check(cfg *Config, w io.Writer) error {
	var problems []error
	note := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	secrets := map[string]string{}
	var names []string
	file, err := passwords.Open(cfg.Passwords, passwords.Options{Plaintext: cfg.Plaintext})
	note(err)
	if err == nil {
		problems = append(problems, file.Warnings()...)
		for _, user := range file.Users() {
			names = append(names, user.Name)
			secrets[user.Name] = user.Scheme
		}
	}
	dir := authorizedkeys.Open(cfg.Keys, authorizedkeys.Options{})
	holders, err := dir.Users()
	note(err)
	keys := map[string][]authorizedkeys.Key{}
	for _, user := range holders {
		if !slices.Contains(names, user.Name) {
			names = append(names, user.Name)
		}
		keys[user.Name] = user.Keys
		for _, err := range dir.Check(user.Name) {
			note(err)
		}
	}
	for _, name := range names {
		fmt.Fprintf(w, "%s\t%s\n", name, ways(cfg, secrets[name], keys[name]))
		for _, key := range keys[name] {
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("\t%s %s %s %s", key.Type, key.Fingerprint, key.Options, key.Comment), " "))
		}
	}
	if cfg.UserCA != "" {
		authorities, err := userca.Open(cfg.UserCA, userca.Options{Revoked: cfg.Revoked, Warn: note})
		note(err)
		if err == nil {
			for _, key := range authorities.Keys() {
				fmt.Fprintf(w, "whoever has a certificate of\t%s\n", key)
			}
		}
	}
	_, err = hostkeys.Load(cfg.HostKeys)
	note(err)
	for _, problem := range problems {
		fmt.Fprintln(w, "problem:", problem)
		if hint := hintOf(problem); hint != "" {
			fmt.Fprintln(w, "  hint:", hint)
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems", len(problems))
	}
	return nil
}

// ways says by which of the configured ways a user could log in.
func ways(cfg *Config, scheme string, keys []authorizedkeys.Key) string {
	var open []string
	for _, way := range cfg.Auth {
		needsPassword, needsKey := strings.Contains(way, "password"), strings.Contains(way, "publickey")
		if needsPassword && scheme == "" || needsKey && len(keys) == 0 {
			continue
		}
		if needsPassword {
			way = strings.Replace(way, "password", "password ("+scheme+")", 1)
		}
		open = append(open, way)
	}
	if len(open) == 0 {
		return "cannot log in"
	}
	return strings.Join(open, ", or ")
}
