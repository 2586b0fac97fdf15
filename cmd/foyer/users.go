package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"syscall"

	"foyer/cmd/cli"
	"foyer/middleware"
	"foyer/middleware/auth/authorizedkeys"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/auth/userca"
	"foyer/middleware/eventlog"
	"foyer/middleware/server"
)

// firstUser is the user that a first start creates.
const firstUser = "guest"

// users holds the users' credentials. With --open it is empty.
type users struct {
	passwords *passwords.File
	path      string
	password  string // of firstUser, if this start created it
	dir       *authorizedkeys.Dir
	keys      []middleware.KeySource
	failLog   io.Writer
}

// openUsers opens the users' files, creates the password file on a first start, and logs warnings.
func openUsers(cfg *Config, logger *slog.Logger, stderr io.Writer) (*users, error) {
	u := &users{path: cfg.Passwords}
	if err := u.openFailLog(cfg, logger, stderr); err != nil {
		return nil, err
	}
	if cfg.Open {
		logger.Warn("everybody is let in without a password", "flag", "--open")
		return u, nil
	}
	if err := u.openKeys(cfg, logger); err != nil {
		return nil, err
	}
	if err := u.openPasswords(cfg, logger); err != nil {
		return nil, err
	}
	u.warn(cfg, logger)
	return u, nil
}

func (u *users) openFailLog(cfg *Config, logger *slog.Logger, stderr io.Writer) (err error) {
	switch cfg.FailLog {
	case "":
		return nil
	case "-":
		u.failLog = stderr
	default:
		// Without O_NONBLOCK, opening a named pipe that nobody reads would hang the start.
		u.failLog, err = os.OpenFile(cfg.FailLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NONBLOCK, 0o600)
		if errors.Is(err, syscall.ENXIO) {
			err = fmt.Errorf("%s: is a socket or a named pipe without a reader", cfg.FailLog)
		}
		if err != nil {
			return fmt.Errorf("open the fail log: %w", err)
		}
	}
	u.failLog = eventlog.NewTimeoutWriter(u.failLog, func(lines int) {
		logger.Error("failed logins lost: the fail log was not read", "n", lines)
	})
	return nil
}

func (u *users) openKeys(cfg *Config, logger *slog.Logger) error {
	u.dir = authorizedkeys.Open(cfg.Keys, authorizedkeys.Options{Warn: func(err error) {
		logger.Warn("authorized keys ignored", problem(err)...)
	}})
	u.keys = []middleware.KeySource{u.dir}
	if cfg.UserCA == "" {
		return nil
	}
	authorities, err := userca.Open(cfg.UserCA, userca.Options{Revoked: cfg.Revoked, Warn: func(err error) {
		logger.Error("user certificates", problem(err)...)
	}})
	if err != nil {
		return err
	}
	u.keys = append(u.keys, authorities)
	return nil
}

func (u *users) openPasswords(cfg *Config, logger *slog.Logger) error {
	opts := passwordOptions(cfg, logger)
	file, err := passwords.Open(cfg.Passwords, opts)
	if errors.Is(err, fs.ErrNotExist) {
		if u.password, err = createFirst(cfg.Passwords); err != nil {
			return err
		}
		logger.Info("password file created", "path", cfg.Passwords, "user", firstUser)
		file, err = passwords.Open(cfg.Passwords, opts)
	}
	u.passwords = file
	return err
}

func passwordOptions(cfg *Config, logger *slog.Logger) passwords.Options {
	return passwords.Options{
		Plaintext: cfg.Plaintext, Remember: cfg.Remember, Networks: cfg.Networks,
		Warn: func(err error) {
			if errors.Is(err, passwords.ErrBusy) {
				logger.Warn("logins refused", "err", err)
				return
			}
			logger.Error("file is invalid; keeping the last good version", problem(err)...)
		},
	}
}

// createFirst creates the password file of a first start and returns the password of firstUser.
func createFirst(path string) (string, error) {
	password, err := passwords.Generate()
	if err != nil {
		return "", err
	}
	return password, passwords.Create(path, firstUser, password)
}

func (u *users) warn(cfg *Config, logger *slog.Logger) {
	for _, err := range u.passwords.Warnings() {
		logger.Warn("password file", problem(err)...)
	}
	if cfg.Plaintext {
		logger.Warn("plain-text passwords are accepted", "path", cfg.Passwords, "hint", "run: foyer user hash")
	}
	names, err := u.names()
	if err = cfg.keysProblem(err); err != nil {
		logger.Warn("authorized keys ignored", problem(err)...)
	}
	if len(names) == 0 && cfg.UserCA == "" {
		logger.Warn("nobody can log in: there are no users", "path", cfg.Passwords, "hint", "run: foyer user add NAME")
	}
}

// problem returns the keys and values that log an error.
func problem(err error) []any {
	facts := []any{"err", err}
	if hint := cli.Hint(err); hint != "" {
		facts = append(facts, "hint", hint)
	}
	return facts
}

// names returns the names of all users with a password or a key, and the error of the directory of keys.
func (u *users) names() (names []string, err error) {
	for _, user := range u.passwords.Users() {
		names = append(names, user.Name)
	}
	keyUsers, err := u.dir.Users() // problems with a user's keys are logged at login
	for _, user := range keyUsers {
		if len(user.Keys) > 0 && !slices.Contains(names, user.Name) {
			names = append(names, user.Name)
		}
	}
	return names, err
}

// known reports whether a user exists. Users who only have a certificate count as unknown.
func (u *users) known(name string) bool {
	return u.passwords == nil || u.passwords.Has(name) || u.dir.Has(name)
}

// penalties returns sshd's penalties. They are the same for existing and for unknown users, so that the time of a block
// does not reveal which users exist.
func (u *users) penalties(s *server.Server) middleware.PenaltiesConfig {
	cfg := s.Penalties()
	cfg.KnownUser = u.known
	return cfg
}

// example returns a user name for the printed ssh command.
func (u *users) example() string {
	if u.passwords == nil {
		return firstUser
	}
	if names, _ := u.names(); len(names) > 0 {
		return names[0]
	}
	return "NAME"
}
