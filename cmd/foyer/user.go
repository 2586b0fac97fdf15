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
	"unicode/utf8"

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
	cfg.settings.AddFlags(cmd.PersistentFlags(), "passwords", "authorized-keys")
	cmd.AddCommand(userAdd(cfg), userRemove(cfg), userList(cfg), userHash(cfg), userImport(cfg))
	for _, sub := range cmd.Commands() {
		sub.RunE = cfg.loaded(sub.RunE)
	}
	return cmd
}

func userAdd(cfg *Config) *cobra.Command {
	var (
		fromStdin, force bool
		key              string
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
			return addPassword(cmd, cfg, args[0], fromStdin, force)
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from the first line of stdin, also that of a user who exists")
	cmd.Flags().BoolVar(&force, "force", false, "set a new password for a user who exists")
	cmd.Flags().StringVar(&key, "key", "", "`file` with a public key to add, instead of setting a password; - for stdin")
	cfg.settings.AddFlags(cmd.Flags(), "plaintext-passwords")
	return cmd
}

func addPassword(cmd *cobra.Command, cfg *Config, user string, fromStdin, force bool) error {
	if err := username.Check(user); err != nil {
		return err
	}
	known, _ := passwords.Check(cfg.Passwords, true) // Add returns the problems
	exists := slices.ContainsFunc(known, func(u passwords.User) bool { return u.Name == user })
	if exists && !fromStdin && !force && prompt.Possible() {
		return cli.With(fmt.Errorf("%s has a password already", user), "to set a new one, run: foyer user add "+watchfile.Quote(user)+" --force")
	}
	password, err := askPassword(cmd, user, fromStdin)
	if err != nil {
		return err
	}
	if err := passwords.Add(cfg.Passwords, user, password, cfg.Plaintext); err != nil {
		return err
	}
	if utf8.RuneCountInString(password) < 8 {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: the password has fewer than 8 characters, which is easy to guess")
	}
	done := "%s can log in with this password; its hash is in %s\n"
	if exists {
		done = "%s's password is changed; its hash is in %s\n"
	}
	fmt.Fprintf(cmd.OutOrStdout(), done, user, cfg.Passwords)
	return nil
}

func addKey(cmd *cobra.Command, cfg *Config, user, path string) error {
	key, err := readKey(cmd.InOrStdin(), path)
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	done := "%s can log in with this key; it is in %s\n"
	err = authorizedkeys.Add(cfg.Keys, user, key)
	switch {
	case errors.Is(err, fs.ErrExist):
		done = "%s has this key already; it is in %s\n"
	case err != nil:
		return err
	}
	file, _ := username.ToFile(user) // Add has checked the name
	fmt.Fprintf(cmd.OutOrStdout(), done, user, filepath.Join(cfg.Keys, file))
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
		// The limit is more than the longest password with a byte order mark, so that a longer one is refused and not cut.
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1<<10+5)).ReadString('\n')
		if err == nil || errors.Is(err, io.EOF) {
			line, err = passwords.FirstLine(line)
		}
		if err != nil {
			return "", fmt.Errorf("read the password: stdin %w", err)
		}
		return line, nil
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
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a user's password and keys",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			users, _ := listUsers(cfg) // those that can be listed
			return slices.Sorted(maps.Keys(users)), cobra.ShellCompDirectiveNoFileComp
		},
		Args: arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := removeUser(cfg, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s removed\n", args[0])
			return nil
		},
	}
	cfg.settings.AddFlags(cmd.Flags(), "plaintext-passwords")
	return cmd
}

// removeUser removes a user's keys and password. An error with one of them does not keep the other. It is an error if
// there is neither.
func removeUser(cfg *Config, name string) error {
	keysErr, passwordErr := authorizedkeys.Remove(cfg.Keys, name), passwords.Remove(cfg.Passwords, name, cfg.Plaintext)
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
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			for _, name := range slices.Sorted(maps.Keys(credentials)) {
				fmt.Fprintf(table, "%s\t%s\n", name, strings.Join(credentials[name], ", "))
			}
			return errors.Join(table.Flush(), err)
		},
	}
}

// listUsers returns the users' credentials by name, and why some may be missing. A missing file has no users.
func listUsers(cfg *Config) (credentials map[string][]string, err error) {
	credentials = map[string][]string{}
	users, _ := passwords.Check(cfg.Passwords, true) // those of the valid lines
	for _, user := range users {
		credentials[user.Name] = append(credentials[user.Name], user.Scheme)
	}
	_, passwordErr := passwords.Open(cfg.Passwords, passwords.Options{Plaintext: true})
	keyUsers, keysErr := authorizedkeys.Open(cfg.Keys, authorizedkeys.Options{}).Users()
	for _, user := range keyUsers {
		credentials[user.Name] = append(credentials[user.Name], plural(len(user.Keys), "key"))
	}
	for _, problem := range []error{passwordErr, keysErr} {
		if err == nil && !errors.Is(problem, fs.ErrNotExist) {
			err = problem
		}
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

func userImport(cfg *Config) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take over the users of htpasswd or /etc/shadow",
		Long: "Take over the users and hashes of a file of another program: htpasswd, /etc/shadow, or \"-\" for stdin.\n" +
			"Hashes of argon2id, bcrypt, scrypt, yescrypt and sha512-crypt are taken as they are, all in one step.\n" +
			"Others, plain text and accounts with an expiry date are not. Each user is listed with the outcome.\n\n" +
			"A user who exists with another password is kept, unless --force is given. The exit status is 1 if a\n" +
			"user was not imported, except for locked accounts, which have no password.",
		Example: "sudo cat /etc/shadow | foyer user import -",
		Args:    arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := readImport(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			outcome, err := passwords.Import(cfg.Passwords, args[0], data, force, cfg.Plaintext)
			if err != nil {
				return err
			}
			return reportImport(cmd.OutOrStdout(), outcome)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace the passwords of users who exist")
	cfg.settings.AddFlags(cmd.Flags(), "plaintext-passwords")
	return cmd
}

// readImport reads the file at path, or stdin if that is "-".
func readImport(stdin io.Reader, path string) (string, error) {
	if path != "-" {
		text, err := watchfile.ReadFile(path, passwords.MaxFile, 0)
		if err != nil {
			return "", fmt.Errorf("read the file: %w", err)
		}
		return text, nil
	}
	data, err := io.ReadAll(io.LimitReader(stdin, passwords.MaxFile+1))
	if err == nil && len(data) > passwords.MaxFile {
		err = fmt.Errorf("is larger than %d MiB", passwords.MaxFile>>20)
	}
	if err != nil {
		return "", fmt.Errorf("read stdin: %w", err)
	}
	return string(data), nil
}

func reportImport(w io.Writer, outcome []passwords.Imported) error {
	table, refused := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0), 0
	for _, line := range outcome {
		result := "imported"
		if line.Err != nil {
			result = "not imported: " + line.Err.Error()
			if !errors.Is(line.Err, passwords.ErrLocked) {
				refused++
			}
		}
		fmt.Fprintf(table, "%s\t%s\n", line.User, result)
	}
	err := table.Flush()
	if err == nil && refused > 0 {
		err = cli.With(fmt.Errorf("%s not imported", plural(refused, "user")), "for each, run: foyer user add NAME")
	}
	return err
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
