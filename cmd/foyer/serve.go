package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"charm.land/log/v2"
	"charm.land/ssh"
	"charm.land/wish/v2"
	"github.com/spf13/cobra"

	"foyer/hostkeys"
	"foyer/middleware"
	"foyer/middleware/session"
)

const (
	// handshakeTimeout is how long a client may take until it is authenticated. The person types a password in it.
	handshakeTimeout = 30 * time.Second
	// drainTimeout is how long running sessions may take to finish once foyer was told to stop: less than the ten
	// seconds after which container runtimes kill.
	drainTimeout = 8 * time.Second
)

func serveCommand(cfg *Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve visitors (the default)",
		Args:  arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cfg.addFlags(cmd.Flags())
	return cmd
}

// serve opens the door until ctx is done or a signal comes. What a person reads goes to stdout, the log to stderr.
func serve(ctx context.Context, cfg *Config, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := cfg.logger(stderr)
	slog.SetDefault(slog.New(logger)) // what the libraries say

	// The address comes first: it is what fails most, and then nothing has been made yet.
	listener, err := listen(cfg.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	door, err := build(cfg, logger, stderr)
	if err != nil {
		return err
	}
	if err := door.announce(stdout, listener.Addr()); err != nil {
		return err
	}
	logger.Info("listening", "addr", listener.Addr())
	if err := door.accept(ctx, listener); err != nil {
		return err
	}
	stop() // a second signal ends the process at once
	door.drain(logger)
	return nil
}

func listen(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, hinted{fmt.Errorf("listen on %s: the port is in use", address), "try another one: foyer --listen :2222"}
	case errors.Is(err, syscall.EACCES):
		return nil, hinted{fmt.Errorf("listen on %s: this user may not", address),
			"ports below 1024 need a capability: setcap cap_net_bind_service=+ep on the foyer binary"}
	}
	return nil, fmt.Errorf("listen on %s: %w", address, err)
}

// door is a server that is ready to serve.
type door struct {
	srv      *ssh.Server
	sessions *session.Channels
	keys     []hostkeys.Key
	layers   []middleware.Layer
	users    *users
	limit    time.Duration // how long running sessions may take to finish at the end
}

// build makes the server that cfg asks for. A first start makes its files here, the password last.
func build(cfg *Config, logger *log.Logger, stderr io.Writer) (*door, error) {
	message, err := cfg.message()
	if err != nil {
		return nil, err
	}
	greeting, err := cfg.greeting()
	if err != nil {
		return nil, err
	}
	keys, created, err := hostkeys.LoadOrCreate(cfg.HostKeys)
	if err != nil {
		return nil, err
	}
	if created {
		logger.Info("host key made", "path", keys[0].Path)
	}
	users, err := openUsers(cfg, logger, stderr)
	if err != nil {
		return nil, err
	}
	d := &door{sessions: &session.Channels{}, keys: keys, users: users, limit: drainTimeout}
	d.layers = layers(cfg, logger, users, greeting)
	d.srv, err = wish.NewServer(
		wish.WithVersion("foyer"),
		withHostKeys(keys),
		d.sessions.Register,
		middleware.Stack(middleware.Message(message), d.layers...),
	)
	if err != nil {
		return nil, err
	}
	d.srv.HandshakeTimeout = handshakeTimeout
	return d, nil
}

func withHostKeys(keys []hostkeys.Key) ssh.Option {
	return func(srv *ssh.Server) error {
		for _, key := range keys {
			srv.AddHostKey(key.Signer)
		}
		return nil
	}
}

// accept serves visitors until ctx is done; then no more connections are taken.
func (d *door) accept(ctx context.Context, listener net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- d.srv.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		_ = listener.Close()
		<-served
		return nil
	}
}

// drain takes no more sessions, lets those that run finish until the limit has passed, and closes all that is left.
func (d *door) drain(logger *log.Logger) {
	logger.Info("closing", "limit", d.limit)
	ctx, cancel := context.WithTimeout(context.Background(), d.limit)
	defer cancel()
	if err := d.sessions.Drain(ctx); err != nil {
		logger.Warn("sessions cut off", "err", err)
	}
	_ = d.srv.Close()
	logger.Info("closed")
}
