package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"foyer/cmd/cli"
	"foyer/middleware/maintenance"
	"foyer/middleware/server"
	"foyer/middleware/share"
)

// shareURL is the URL of an engine, or "".
type shareURL struct{ value *share.URL }

func (u shareURL) String() string { return string(*u.value) }
func (u shareURL) Type() string   { return "URL" }

func (u shareURL) Set(text string) error {
	parsed, err := share.ParseURL(text)
	switch {
	case text == "":
		*u.value = ""
		return nil
	case errors.Is(err, share.ErrPassword):
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
	name, err := share.ParseName(text)
	if err == nil {
		*n.value = name
	}
	return err
}

// engine returns what the settings name, for penalties with these rules.
func engine(cfg *Config, rules share.Rules) *share.Valkey {
	return &share.Valkey{Rules: rules, URL: cfg.Share, Name: cfg.ShareName, PasswordFile: cfg.SharePasswordFile}
}

// shareKey returns the key of the settings, which may be empty.
func shareKey(cfg *Config) (key share.Key, err error) {
	if cfg.ShareKeyFile == "" {
		return nil, nil
	}
	if key, err = share.ReadKey(cfg.ShareKeyFile); err != nil {
		err = fmt.Errorf("share-key-file: %w", err)
	}
	return key, err
}

// shareWith makes a server share what the settings say.
func shareWith(cfg *Config, s *server.Server) error {
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
	if err := withEngine(cfg, func(ctx context.Context, conn share.Connection) error { return conn.Ping(ctx) }); err != nil {
		r.warn(err.Error(), "until it can be reached, this server shares nothing")
	}
}

// withEngine calls use with a connection to the engine of the settings.
func withEngine(cfg *Config, use func(context.Context, share.Connection) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := engine(cfg, share.Rules{}).Open(ctx, share.Receiver{Blocks: func([]share.Block, int) {}, Switched: func() {}})
	if err == nil {
		defer conn.Close()
		err = use(ctx, conn)
	}
	if err != nil {
		err = fmt.Errorf("share: %s: %w", cfg.Share, err)
	}
	return err
}

// switchAll sets the maintenance switch of all servers that share.
func switchAll(cfg *Config, s share.Switch) error {
	return withEngine(cfg, func(ctx context.Context, conn share.Connection) error { return share.SetSwitch(ctx, conn, s, false) })
}

// sharedClosures returns what the switch of all servers closes.
func sharedClosures(cfg *Config, now time.Time) (lines []string, err error) {
	if cfg.Share == "" {
		return nil, nil
	}
	var s *share.Switch
	err = withEngine(cfg, func(ctx context.Context, conn share.Connection) (err error) {
		s, err = share.ReadSwitch(ctx, conn)
		return err
	})
	if err != nil {
		return nil, cli.With(err, "servers keep the switch that they know; with --local only the file is looked at")
	}
	if s != nil && s.On {
		state := maintenance.State{Text: s.Text, Until: s.Until, ExceptGroups: s.ExceptGroups}
		lines = closure(state.Rule(), "all servers that share in "+cfg.Share.String(), now)
	}
	return lines, nil
}
