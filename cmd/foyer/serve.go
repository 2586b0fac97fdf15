package main

import (
	"context"
	"io"
	"log/slog"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	gossh "golang.org/x/crypto/ssh"

	"foyer/hostkeys"
	"foyer/middleware/server"
	"foyer/middleware/watchfile"
)

func serveCommand(cfg *Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve visitors (the default)",
		Args:  arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.check(); err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cfg.addFlags(cmd.Flags())
	return cmd
}

// serve serves until ctx is done or a signal arrives. It prints how to log in to stdout and the log to stderr. If nobody
// reads them any more, it serves on.
func serve(ctx context.Context, cfg *Config, stdout, stderr io.Writer) error {
	signal.Ignore(syscall.SIGPIPE) // Go ends a process whose stdout or stderr is a pipe without a reader
	cfg.useLog(stderr)
	s, err := server.New(cfg.Config)
	if err != nil {
		return err
	}
	defer s.Events.Flush()
	// Listening is the step that fails most often, so it comes before any file is created.
	if err := s.Open(ctx); err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	users, err := build(cfg, s, stderr)
	if err != nil {
		return err
	}
	if err := announce(stdout, s, users); err != nil {
		return err
	}
	s.Logger.Info("listening", "addr", s.Addr(), "connections", s.Connections)
	return s.Serve(ctx)
}

// texts are the texts for visitors.
type texts struct{ message, greeting string }

// build builds the server that cfg describes. On a first start it creates the files, the password file last.
func build(cfg *Config, s *server.Server, stderr io.Writer) (*users, error) {
	var texts texts
	var err error
	if texts.message, err = cfg.message(); err != nil {
		return nil, err
	}
	if texts.greeting, err = cfg.greeting(); err != nil {
		return nil, err
	}
	if err := s.LoadHostKeys(); err != nil {
		return nil, err
	}
	users, err := openUsers(cfg, s.Logger, stderr)
	if err != nil {
		return nil, err
	}
	clean(cfg, s.Logger)
	if err := s.Build(layers(cfg, s, users, texts)...); err != nil {
		return nil, err
	}
	isRSA := func(key hostkeys.Key) bool { return key.Type() == gossh.KeyAlgoRSA }
	if cfg.Algorithms == "compat" && !slices.ContainsFunc(s.Keys, isRSA) {
		s.Logger.Warn("old clients need an rsa host key", "hint", "run: foyer hostkey add rsa")
	}
	return users, nil
}

// clean deletes the temporary files of edits that crashed. They hold hashes and private keys.
func clean(cfg *Config, logger *slog.Logger) {
	for _, path := range []string{cfg.HostKeys, cfg.Keys, cfg.Passwords} {
		if err := watchfile.Clean(path); err != nil {
			logger.Warn("temporary file left behind", problem(err)...)
		}
	}
}
