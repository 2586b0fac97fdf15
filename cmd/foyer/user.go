package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
	"foyer/cmd/prompt"
	"foyer/middleware/auth/authorizedkeys"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/auth/username"
)

func userCommand(cfg *Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Manage who may come in",
		Long:  "Manage the password file and the users' keys. A running foyer sees each change at once.",
		Args:  arguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cfg.addPasswords(cmd.PersistentFlags())
	cfg.addKeys(cmd.PersistentFlags())
	cmd.AddCommand(userAdd(cfg), userRemove(cfg), userList(cfg), userHash(cfg))
	return cmd
}

func userAdd(cfg *Config) *cobra.Command {
	var (
		fromStdin bool
		key       string
	)
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user, set a new password, or add a key",
		Example: "foyer user add alice\nfoyer user add alice --password-stdin < password.txt\n" +
			"foyer user add alice --key id_ed25519.pub",
		Args: arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if key != "" {
				return addKey(cmd, cfg, args[0], key)
			}
			password, err := askPassword(cmd, args[0], fromStdin)
			if err != nil {
				return err
			}
			if err := passwords.Add(cfg.Passwords, args[0], password); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s may come in with this password; %s keeps a hash of it\n", args[0], cfg.Passwords)
			return nil
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from the first line of stdin")
	cmd.Flags().StringVar(&key, "key", "", "file with a public key that lets the user in; no password is asked for")
	return cmd
}

func addKey(cmd *cobra.Command, cfg *Config, user, path string) error {
	key, err := readText("key", path)
	if err != nil {
		return err
	}
	if err := authorizedkeys.Add(cfg.Keys, user, []byte(key)); err != nil {
		return err
	}
	file, _ := username.ToFile(user) // Add has checked the name
	fmt.Fprintf(cmd.OutOrStdout(), "%s may come in with this key; it is in %s\n", user, filepath.Join(cfg.Keys, file))
	return nil
}

// askPassword asks a person twice, without an echo, or reads one line of stdin where the caller says so.
func askPassword(cmd *cobra.Command, user string, fromStdin bool) (string, error) {
	if fromStdin {
		// One byte more than a password may have, so that a longer one is seen to be too long.
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1<<10+2)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	if !prompt.Possible() {
		return "", cli.Misuse("add --password-stdin to read it from there", "stdin is no terminal to ask for a password on")
	}
	first, err := prompt.Password(cmd.ErrOrStderr(), fmt.Sprintf("Password for %s: ", user))
	if err != nil {
		return "", err
	}
	second, err := prompt.Password(cmd.ErrOrStderr(), "Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ, nothing was changed")
	}
	return first, nil
}

func userRemove(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a user, with password and keys",
		Args:  arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := removeUser(cfg, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is removed\n", args[0])
			return nil
		},
	}
}

// removeUser takes from a user all that lets them in, the keys although the password cannot be taken. It is an error when
// there is nothing to take.
func removeUser(cfg *Config, name string) error {
	keys, password := authorizedkeys.Remove(cfg.Keys, name), passwords.Remove(cfg.Passwords, name)
	hadNone := errors.Is(keys, fs.ErrNotExist)
	hadNoPassword := errors.Is(password, passwords.ErrNoUser) || errors.Is(password, fs.ErrNotExist)
	switch {
	case hadNone && hadNoPassword:
		return cli.With(fmt.Errorf("there is no user %q", name), "run: foyer user list")
	case hadNone:
		return password
	case hadNoPassword:
		return keys
	}
	return errors.Join(keys, password)
}

func userList(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the users, how their passwords are kept and how many keys they have",
		Args:  arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			have, err := listUsers(cfg)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			for _, name := range slices.Sorted(maps.Keys(have)) {
				fmt.Fprintf(table, "%s\t%s\n", name, strings.Join(have[name], ", "))
			}
			return table.Flush()
		},
	}
}

// listUsers returns by name what lets the users in. Files that are not there hold nobody.
func listUsers(cfg *Config) (have map[string][]string, err error) {
	have = map[string][]string{}
	file, err := passwords.Open(cfg.Passwords, passwords.Options{Plaintext: true})
	switch {
	case err == nil:
		for _, user := range file.Users() {
			have[user.Name] = append(have[user.Name], user.Scheme)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	holders, err := authorizedkeys.Open(cfg.Keys, authorizedkeys.Options{}).Users()
	for _, user := range holders {
		have[user.Name] = append(have[user.Name], plural(len(user.Keys), "key"))
	}
	return have, err
}

func userHash(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:   "hash",
		Short: "Replace plain-text passwords in the file with their hashes",
		Args:  arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := passwords.Hash(cfg.Passwords)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s hashed in %s\n", plural(n, "password"), cfg.Passwords)
			return nil
		},
	}
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
