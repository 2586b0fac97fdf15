package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"foyer/cmd/cli"
	"foyer/middleware/server"
	sharing "foyer/middleware/share"
)

// shareURL is the URL of an engine, or "".
type shareURL struct{ value *sharing.URL }

func (u shareURL) String() string { return string(*u.value) }
func (u shareURL) Type() string   { return "URL" }

func (u shareURL) Set(text string) error {
	parsed, err := sharing.ParseURL(text)
	switch {
	case text == "":
		*u.value = ""
		return nil
	case errors.Is(err, sharing.ErrPassword):
		return cli.With(err, "write the password to a file, and use --share-password-file FILE")
	case err != nil:
		return cli.With(err, "use redis://HOST:PORT, as in --share redis://localhost:6379")
	}
	*u.value = parsed
	return nil
}

// shareName is the name of the servers that share.
type shareName struct{ value *string }

func (n shareName) String() string { return *n.value }
func (n shareName) Type() string   { return "name" }

func (n shareName) Set(text string) (err error) {
	name, err := sharing.ParseName(text)
	if err == nil {
		*n.value = name
	}
	return err
}

// engine returns what the settings name, for penalties with these rules.
func engine(cfg *Config, rules sharing.Rules) *sharing.Valkey {
	return &sharing.Valkey{Rules: rules, URL: cfg.Share, Name: cfg.ShareName, PasswordFile: cfg.SharePasswordFile}
}

// shareKey returns the key of the settings, which may be empty.
func shareKey(cfg *Config) (key sharing.Key, err error) {
	if cfg.ShareKeyFile == "" {
		return nil, nil
	}
	if key, err = sharing.ReadKey(cfg.ShareKeyFile); err != nil {
		err = fmt.Errorf("share-key-file: %w", err)
	}
	return key, err
}

// share makes a server share what the settings say.
func share(cfg *Config, s *server.Server) error {
	if cfg.Share == "" {
		return nil
	}
	key, err := shareKey(cfg)
	if err == nil {
		s.Share(engine(cfg, s.Rules()), key)
	}
	return err
}

// readShare adds a warning if the engine cannot be used. The server would start nevertheless.
func (r *report) readShare(cfg *Config) {
	if cfg.Share == "" {
		return
	}
	if _, err := shareKey(cfg); err != nil {
		r.problems = append(r.problems, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := engine(cfg, sharing.Rules{}).Open(ctx, func([]sharing.Block, int) {})
	if err == nil {
		defer conn.Close()
		err = conn.Ping(ctx)
	}
	if err != nil {
		r.warn(fmt.Sprintf("share: %s: %v", cfg.Share, err), "until it can be reached, this server shares nothing")
	}
}
