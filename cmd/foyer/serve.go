package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"charm.land/log/v2"
	"charm.land/ssh"
	"charm.land/wish/v2"
	"github.com/spf13/cobra"
	gossh "golang.org/x/crypto/ssh"

	"foyer/hostkeys"
	"foyer/middleware"
	"foyer/middleware/eventlog"
	"foyer/middleware/session"
)

// lastWords is how much of the time that sessions have to finish is left for telling those that do not, and how long
// connections that were closed may take until they are over.
const lastWords = time.Second

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
	logger, page := cfg.logger(stderr)
	slog.SetDefault(slog.New(eventlog.Library(logger, nil))) // what the libraries say

	// The address comes first: it is what fails most, and then nothing has been made yet.
	listener, err := listen(ctx, cfg.Listen, cfg.places(), cfg.Deadlines)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	door, err := build(cfg, logger, page, stderr)
	if err != nil {
		return err
	}
	defer door.gate.lines.Flush()
	if err := door.announce(stdout, listener.Addr()); err != nil {
		return err
	}
	logger.Info("listening", "addr", listener.Addr(), "connections", cfg.Connections)
	go beThrifty(ctx, logger)
	if err := door.accept(ctx, listener); err != nil {
		return err
	}
	stop() // a second signal ends the process at once
	door.drain(logger)
	return nil
}

// door is a server that is ready to serve.
type door struct {
	srv      *ssh.Server
	sessions *session.Channels
	keys     []hostkeys.Key
	layers   []middleware.Layer
	users    *users
	gate     *gate
	limit    time.Duration // how long running sessions may take to finish at the end
}

// build makes the server that cfg asks for. A first start makes its files here, the password last.
func build(cfg *Config, logger *log.Logger, page *eventlog.Page, stderr io.Writer) (*door, error) {
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
	d := &door{keys: keys, users: users, gate: newGate(cfg, logger, page), limit: cfg.Drain}
	d.sessions = &session.Channels{WriteTimeout: cfg.Unread, Lifetime: cfg.Session, Counters: d.gate.counts}
	d.layers = layers(cfg, users, d.gate, greeting)
	d.srv, err = wish.NewServer(
		wish.WithVersion("foyer"),
		withHostKeys(keys),
		d.sessions.Register,
		middleware.Stack(middleware.Message(message), d.layers...),
	)
	if err != nil {
		return nil, err
	}
	d.keys = shown(d.srv, keys, logger)
	old := func(key hostkeys.Key) bool { return key.Type() == gossh.KeyAlgoRSA }
	if cfg.Algorithms == "compat" && !slices.ContainsFunc(d.keys, old) {
		logger.Warn("old clients need an rsa host key", "hint", "foyer hostkey add rsa")
	}
	return d, nil
}

// shown returns the host keys that srv shows to visitors, and tells of those that its algorithms leave out.
func shown(srv *ssh.Server, keys []hostkeys.Key, logger *log.Logger) []hostkeys.Key {
	return slices.DeleteFunc(slices.Clone(keys), func(key hostkeys.Key) bool {
		is := func(signer ssh.Signer) bool { return signer.PublicKey().Type() == key.Type() }
		if slices.ContainsFunc(srv.HostSigners, is) {
			return false
		}
		logger.Warn("host key not shown: visitors would need --algorithms compat", "key", key.Type(), "path", key.Path)
		return true
	})
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

// drain lets nobody in any more, and closes the connections that have no session; those who are at the prompt are told
// why. Sessions may finish; those that have not when the limit is near are told so, and all that is left is closed.
func (d *door) drain(logger *log.Logger) {
	d.gate.lines.Flush() // in their order
	logger.Info("closing", "limit", d.limit)
	var told sync.WaitGroup
	for _, conn := range d.gate.table.Drain() {
		told.Go(func() { d.gate.table.Farewells.Closing(conn, d.srv.Version) })
	}
	limit, cancel := context.WithTimeout(context.Background(), d.limit)
	defer cancel()
	finish, cancel := context.WithTimeout(limit, d.limit-min(lastWords, d.limit/2))
	defer cancel()
	if err := d.sessions.Drain(finish); err != nil {
		logger.Warn("sessions cut off", "err", err)
		_ = d.sessions.End(limit, "This server is closing. Please come back later.")
	}
	told.Wait()
	d.gate.table.Close()
	_ = d.srv.Close()
	d.goodbyes()
	d.gate.counts.Flush()
	d.gate.lines.Flush()
	logger.Info("closed")
}

// goodbyes waits until the log has the last line of every connection, which a password that is being checked may delay.
func (d *door) goodbyes() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	_ = d.gate.table.Wait(ctx)
	_ = d.sessions.Drain(ctx) // whose handlers may hear of the end of their connection last
}
