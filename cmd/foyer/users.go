package main

import (
	"errors"
	"io/fs"

	"charm.land/log/v2"

	"foyer/middleware/passwords"
)

// newcomer is the user that a first start makes.
const newcomer = "guest"

// users is who may come in by password.
type users struct {
	file     *passwords.File // nil where the door is open
	path     string
	password string // newcomer's, where this start made it
}

// openUsers opens the password file, makes it on a first start, and warns of what an operator should know.
func openUsers(cfg *Config, logger *log.Logger) (*users, error) {
	if cfg.Open {
		logger.Warn("everybody is let in without a password", "flag", "--open")
		return &users{}, nil
	}
	u := &users{path: cfg.Passwords}
	opts := passwords.Options{
		Plaintext: cfg.Plaintext,
		Warn: func(err error) {
			logger.Error("password file not used, the last good one is", "err", err, "hint", hintOf(err))
		},
	}
	file, err := passwords.Open(cfg.Passwords, opts)
	if errors.Is(err, fs.ErrNotExist) {
		if u.password, err = makeFirst(cfg.Passwords); err != nil {
			return nil, err
		}
		logger.Info("password file made", "path", cfg.Passwords, "user", newcomer)
		file, err = passwords.Open(cfg.Passwords, opts)
	}
	if err != nil {
		return nil, err
	}
	u.file = file
	u.warn(cfg, logger)
	return u, nil
}

// makeFirst makes the password file of a first start and returns newcomer's password.
func makeFirst(path string) (string, error) {
	password, err := passwords.Generate()
	if err != nil {
		return "", err
	}
	return password, passwords.Create(path, newcomer, password)
}

func (u *users) warn(cfg *Config, logger *log.Logger) {
	for _, err := range u.file.Warnings() {
		logger.Warn("password file", "err", err, "hint", hintOf(err))
	}
	if cfg.Plaintext {
		logger.Warn("plain-text passwords are accepted", "path", cfg.Passwords, "hint", "run: foyer user hash")
	}
	if len(u.file.Users()) == 0 {
		logger.Warn("nobody can log in: there are no users", "path", cfg.Passwords, "hint", "run: foyer user add NAME")
	}
}

// Verify reports whether password is user's.
func (u *users) Verify(user, password string) bool {
	return u.file != nil && u.file.Verify(user, password)
}

// example returns a user to try the door with.
func (u *users) example() string {
	if u.file == nil {
		return newcomer
	}
	if list := u.file.Users(); len(list) > 0 {
		return list[0].Name
	}
	return "NAME"
}
