package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
	"foyer/cmd/prompt"
	"foyer/middleware/auth/authorizedkeys"
	"foyer/middleware/auth/keyfile"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/auth/username"
	"foyer/middleware/watchfile"
)

func userCommand(cfg *Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Manage the users",
		Long:  "Manage the password file and the users' keys. A running foyer applies each change at once.",
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
			fmt.Fprintf(cmd.OutOrStdout(), "%s can log in with this password; its hash is in %s\n", args[0], cfg.Passwords)
			return nil
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from the first line of stdin")
	cmd.Flags().StringVar(&key, "key", "", "file with a public key to add, instead of setting a password; - for stdin")
	return cmd
}

func addKey(cmd *cobra.Command, cfg *Config, user, path string) error {
	key, err := readKey(cmd.InOrStdin(), path)
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	if err := authorizedkeys.Add(cfg.Keys, user, key); err != nil {
		return err
	}
	file, _ := username.ToFile(user) // Add has checked the name
	fmt.Fprintf(cmd.OutOrStdout(), "%s can log in with this key; it is in %s\n", user, filepath.Join(cfg.Keys, file))
	return nil
}

// readKey reads a file, which may be a pipe such as the shell's <(…), or stdin if path is "-". It reads at most one byte more
// than the limit of Add.
func readKey(in io.Reader, path string) ([]byte, error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, watchfile.Failure(path, err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, keyfile.MaxFile+1))
	return data, watchfile.Failure(path, err)
}

// askPassword asks a person twice, without echo, or reads one line from stdin if fromStdin is true.
func askPassword(cmd *cobra.Command, user string, fromStdin bool) (string, error) {
	if fromStdin {
		// The limit is more than the longest password, so that a longer one is refused and not cut.
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1<<10+2)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	if !prompt.Possible() {
		return "", cli.Misuse("add --password-stdin to read the password from stdin", "cannot ask for a password: stdin is not a terminal")
	}
	first, err := prompt.Password(cmd.ErrOrStderr(), fmt.Sprintf("Password for %s: ", user))
	if err != nil {
		return "", err
	}
	second, err := prompt.Password(cmd.ErrOrStderr(), "Repeat the password: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the passwords do not match; nothing was changed")
	}
	return first, nil
}

func userRemove(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a user's password and keys",
		Args:  arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := removeUser(cfg, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s removed\n", args[0])
			return nil
		},
	}
}

// removeUser removes a user's keys and password. An error with one of them does not keep the other. It is an error if
// there is neither.
func removeUser(cfg *Config, name string) error {
	keysErr, passwordErr := authorizedkeys.Remove(cfg.Keys, name), passwords.Remove(cfg.Passwords, name)
	noKeys := errors.Is(keysErr, fs.ErrNotExist)
	noPassword := errors.Is(passwordErr, passwords.ErrNoUser) || errors.Is(passwordErr, fs.ErrNotExist)
	switch {
	case noKeys && noPassword:
		return cli.With(fmt.Errorf("unknown user %q", name), "run: foyer user list")
	case noKeys:
		return passwordErr
	case noPassword:
		return keysErr
	}
	return errors.Join(keysErr, passwordErr)
}

func userList(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the users with the hash of their password and the number of their keys",
		Args:  arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			credentials, err := listUsers(cfg)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			for _, name := range slices.Sorted(maps.Keys(credentials)) {
				fmt.Fprintf(table, "%s\t%s\n", name, strings.Join(credentials[name], ", "))
			}
			return table.Flush()
		},
	}
}

// listUsers returns the users' credentials by name. A missing file has no users.
func listUsers(cfg *Config) (credentials map[string][]string, err error) {
	credentials = map[string][]string{}
	file, err := passwords.Open(cfg.Passwords, passwords.Options{Plaintext: true})
	switch {
	case err == nil:
		for _, user := range file.Users() {
			credentials[user.Name] = append(credentials[user.Name], user.Scheme)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	keyUsers, err := authorizedkeys.Open(cfg.Keys, authorizedkeys.Options{}).Users()
	for _, user := range keyUsers {
		credentials[user.Name] = append(credentials[user.Name], plural(len(user.Keys), "key"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return credentials, err
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
