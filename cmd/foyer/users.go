package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"

	"foyer/cmd/cli"
	"foyer/middleware"
	"foyer/middleware/auth/authorizedkeys"
	"foyer/middleware/auth/passwords"
	"foyer/middleware/auth/userca"
	"foyer/middleware/eventlog"
	"foyer/middleware/watchfile"
)

// firstUser is the user that a first start creates.
const firstUser = "guest"

// users holds the users' credentials. With --open it is empty.
type users struct {
	passwords *passwords.File
	path      string
	password  string // of firstUser, if this start created it
	example   string // a user who can log in, or "NAME"
	keysErr   error  // of the directory of keys
	missing   string // the command without which nobody can log in, or ""
	dir       *authorizedkeys.Dir
	keys      []middleware.KeySource
	failLog   io.Writer
	failFile  *eventlog.File // that failLog writes to, or nil
	cfg       *Config        // that these were opened with
}

// openUsers opens the users' files, creates the password file on a first start, and logs warnings. What is the same as in
// last, which is nil at the start, stays open.
func openUsers(cfg *Config, logger *slog.Logger, stderr io.Writer, last *users) (*users, error) {
	u := &users{path: cfg.Passwords, example: firstUser, cfg: cfg}
	if last == nil {
		last = &users{}
	}
	if err := u.openFailLog(cfg, logger, stderr, last); err != nil {
		return nil, err
	}
	if cfg.Open {
		logger.Warn("everybody is let in without a password", "flag", "--open")
		return u, nil
	}
	if err := u.openKeys(cfg, logger, last); err != nil {
		return nil, err
	}
	if err := u.openPasswords(cfg, logger, last); err != nil {
		return nil, err
	}
	u.findExample(cfg)
	u.warn(cfg, logger)
	return u, nil
}

func (u *users) openFailLog(cfg *Config, logger *slog.Logger, stderr io.Writer, last *users) (err error) {
	to := stderr
	switch {
	case cfg.FailLog == "":
		return nil
	case cfg.FailLog == "-":
	case last.failFile != nil:
		u.failFile, u.failLog = last.failFile, last.failLog
		return nil
	default:
		if u.failFile, err = eventlog.OpenFile(cfg.FailLog); err != nil {
			return fmt.Errorf("open the fail log: %w", err)
		}
		to = u.failFile
	}
	u.failLog = eventlog.NewTimeoutWriter(to, func(lines int) {
		logger.Error("failed logins lost: the fail log was not read", "n", lines)
	})
	return nil
}

func (u *users) openKeys(cfg *Config, logger *slog.Logger, last *users) error {
	if u.dir = last.dir; u.dir == nil || last.cfg.Keys != cfg.Keys {
		u.dir = authorizedkeys.Open(cfg.Keys, authorizedkeys.Options{Warn: func(err error) {
			logger.Warn("authorized keys ignored", problem(err)...)
		}})
	}
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

func (u *users) openPasswords(cfg *Config, logger *slog.Logger, last *users) error {
	if last.passwords != nil && samePasswords(cfg, last.cfg) {
		u.passwords = last.passwords
		return nil
	}
	opts := passwordOptions(cfg, logger)
	file, err := passwords.Open(cfg.Passwords, opts)
	if errors.Is(err, fs.ErrNotExist) && last.cfg == nil { // a reload cannot show a password to anybody
		if err = u.createFirst(cfg, logger); err != nil {
			return err
		}
		file, err = passwords.Open(cfg.Passwords, opts)
	}
	u.passwords = file
	return err
}

// samePasswords reports whether both settings use the password file in the same way. The logins that wait for a hash, and the
// passwords that are remembered, are then the same too.
func samePasswords(a, b *Config) bool {
	bits := func(c *Config) [2]int { return [2]int{c.Networks.Bits4, c.Networks.Bits6} }
	return a.Passwords == b.Passwords && a.Plaintext == b.Plaintext && a.Remember == b.Remember && bits(a) == bits(b)
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

// createFirst creates the password file of a first start: with firstUser if passwords are used, and otherwise without users.
func (u *users) createFirst(cfg *Config, logger *slog.Logger) (err error) {
	facts := []any{"path", cfg.Passwords}
	if withKey := usableMethods(cfg, "", true); len(withKey) == len(cfg.Auth) {
		err = passwords.CreateEmpty(cfg.Passwords)
	} else {
		facts = append(facts, "user", firstUser)
		err = u.createGuest(cfg)
	}
	if err == nil {
		logger.Info("password file created", facts...)
	}
	return err
}

// createGuest creates the password file with firstUser. The password is the one in the file of the settings, or a new one to
// print. Who reads stdout may know the password: at a terminal it is who has started foyer, in the journal it is root. The
// logs of a container are read by many, so that the image names a file.
func (u *users) createGuest(cfg *Config) error {
	if cfg.Guest != "" {
		password, err := guestPassword(cfg.Guest)
		if err != nil {
			return err
		}
		return passwords.Create(cfg.Passwords, firstUser, password)
	}
	var err error
	if u.password, err = passwords.Generate(); err != nil {
		return err
	}
	return passwords.Create(cfg.Passwords, firstUser, u.password)
}

// maxGuestPassword is more than the longest password with a byte order mark and a line ending.
const maxGuestPassword = 2 << 10

// guestPassword returns the first line of the file at path.
func guestPassword(path string) (string, error) {
	data, err := watchfile.ReadFile(path, maxGuestPassword, watchfile.OthersWrite)
	if err == nil {
		data, err = passwords.FirstLine(data)
	}
	if err == nil {
		return data, nil
	}
	err = watchfile.Failure(path, err)
	if errors.Is(err, fs.ErrNotExist) {
		err = cli.With(err, "write the password of "+firstUser+" to it, or create another user: foyer user add NAME")
	}
	return "", fmt.Errorf("guest-password-file: %w", err)
}

func (u *users) warn(cfg *Config, logger *slog.Logger) {
	for _, err := range u.passwords.Warnings() {
		logger.Warn("password file", problem(err)...)
	}
	if cfg.Plaintext {
		logger.Warn("plain-text passwords are accepted", "path", cfg.Passwords, "hint", "run: foyer user hash")
	}
	if err := cfg.keysProblem(u.keysErr); err != nil {
		logger.Warn("authorized keys ignored", problem(err)...)
	}
	if u.missing != "" {
		logger.Warn("nobody can log in", "path", cfg.Passwords, "hint", "run: "+u.missing)
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

// findExample sets example and missing. A certificate of an authority, which any user may have, counts as a key.
func (u *users) findExample(cfg *Config) {
	schemes, keys := map[string]string{}, map[string]int{}
	var names []string
	for _, user := range u.passwords.Users() {
		names = append(names, user.Name)
		schemes[user.Name] = user.Scheme
	}
	var keyUsers []authorizedkeys.User
	keyUsers, u.keysErr = u.dir.Users() // problems with a user's keys are logged at login
	for _, user := range keyUsers {
		names = append(names, user.Name)
		keys[user.Name] = len(user.Keys)
	}
	certificates := cfg.UserCA != ""
	hasKey := func(name string) bool { return certificates || keys[name] > 0 }
	i := slices.IndexFunc(names, func(name string) bool { return len(usableMethods(cfg, schemes[name], hasKey(name))) > 0 })
	u.example = append(names, "NAME")[max(i, 0)]
	if i < 0 && len(usableMethods(cfg, "", certificates)) == 0 {
		u.missing = addCommand(cfg, watchfile.Quote(u.example), schemes[u.example], hasKey(u.example))
	}
}

// known reports whether a user exists. Users who only have a certificate count as unknown.
func (u *users) known(name string) bool {
	return u.passwords == nil || u.passwords.Has(name) || u.dir.Has(name)
}
