// Package server runs a stack of layers as a program does: it makes what the layers share, listens, serves until it is told
// to stop, and lets running sessions finish. A whole server with one handler is about 25 lines:
//
//	s, err := server.New(server.Config{})
//	if err != nil {
//		log.Fatal(err)
//	}
//	err = s.Run(context.Background(),
//		middleware.Recover(),
//		middleware.Penalties(s.Penalties()),
//		middleware.Limits(s.Table),
//		middleware.Deadlines(s.ConnectionDeadlines()),
//		middleware.Budgets(s.Counters),
//		middleware.Algorithms("default"),
//		middleware.Logging(s.Events),
//		middleware.Open(),
//		middleware.HostKeyUpdate(),
//		middleware.Handler("hello", hello),
//	)
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	charm "charm.land/log/v2"
	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/hostkeys"
	"foyer/middleware"
	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/penalties"
	"foyer/middleware/session"
)

// Server is a server and what its layers share.
type Server struct {
	Config                      // with defaults filled in
	Logger   *slog.Logger       // what the operator reads; not bounded
	Events   *eventlog.Log      // what happens on connections
	Counters *counters.Counters // of the limits that are reached
	Table    *limits.Table      // of the connections
	Keys     []hostkeys.Key     // set by LoadHostKeys; Build leaves those that key exchanges use at first

	slowDisconnects int
	signals         chan os.Signal
	listener        net.Listener
	stack           *middleware.Stack
	described       string // the host keys that were logged last
	ssh             *ssh.Server
}

// New returns a server that does not listen yet. Its error is a bad setting. It makes the log of libraries
// (slog.SetDefault, and that of Charm's log) part of the server's.
func New(cfg Config) (*Server, error) {
	cfg, slowDisconnects, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{Config: cfg, slowDisconnects: slowDisconnects}
	writer := eventlog.NewTimeoutWriter(cfg.Writer, func(lines int) {
		s.Logger.Error("log lines lost: the log was not read", "n", lines)
	})
	batch := eventlog.NewBatchWriter(writer)
	if cfg.Format == "text" { // for people, who see each line at once
		batch = nil
		s.Logger = eventlog.NewLogger(writer, cfg.Format, cfg.Level)
	} else {
		s.Logger = eventlog.NewLogger(batch, cfg.Format, cfg.Level)
	}
	libraries := eventlog.Library(s.Logger, nil)
	slog.SetDefault(slog.New(libraries))
	charm.SetDefault(eventlog.Charm(libraries))
	s.Counters = counters.New(counters.Config{Logger: s.Logger, Networks: cfg.Networks})
	s.Events = eventlog.New(eventlog.Config{Logger: s.Logger, Rate: cfg.Rate, Counters: s.Counters, Batch: batch})
	s.Table = limits.NewTable(limits.Config{
		Max: cfg.Connections, MaxPerSource: cfg.PerSource,
		MaxUnauthenticated: cfg.Unauthenticated, MaxUnauthenticatedPerSource: cfg.UnauthenticatedPerSource,
		MaxSessions: cfg.Sessions, MaxSessionsEver: cfg.SessionsEver,
		Networks: cfg.Networks, Counters: s.Counters,
	})
	return s, nil
}

// Penalties returns the settings of the layer of that name.
func (s *Server) Penalties() middleware.PenaltiesConfig {
	return penalties.Config{Networks: s.Networks, Logger: s.Events.Unauthenticated(), Refused: s.Counters.CountPenalty}
}

// ConnectionDeadlines returns the settings of the layer Deadlines.
func (s *Server) ConnectionDeadlines() middleware.DeadlinesConfig {
	return middleware.DeadlinesConfig{
		Handshake: s.Deadlines.Handshake, Idle: s.Deadlines.Idle, Keepalive: s.Deadlines.Keepalive, Counters: s.Counters,
	}
}

// Run listens, loads the host keys, builds and serves.
func (s *Server) Run(ctx context.Context, layers ...middleware.Layer) error {
	if err := s.Open(ctx); err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := s.LoadHostKeys(); err != nil {
		return err
	}
	if err := s.Build(layers...); err != nil {
		return err
	}
	s.Logger.Info("listening", "addr", s.Addr(), "connections", s.Connections)
	return s.Serve(ctx)
}

// Open listens on the address. Nobody is served yet. From now on SIGINT and SIGTERM do not end the process: if one comes
// before Serve is called, Serve drains at once.
func (s *Server) Open(ctx context.Context) (err error) {
	s.signals = make(chan os.Signal, 1)
	signal.Notify(s.signals, os.Interrupt, syscall.SIGTERM)
	slots := s.Connections + s.slowDisconnects + spareDescriptors/2 // for those that there may be, and those that are told to go
	s.listener, err = listen(ctx, s.Listen, slots, s.Deadlines)
	if err != nil {
		return listenError(s.Listen, err)
	}
	return nil
}

// Addr returns the address on which the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close stops listening.
func (s *Server) Close() error {
	signal.Stop(s.signals)
	return s.listener.Close()
}

// LoadHostKeys loads the host keys and makes one if there is none.
func (s *Server) LoadHostKeys() error {
	keys, created, err := hostkeys.LoadOrCreate(s.HostKeys)
	if err == nil && created {
		s.Logger.Info("host key created", "path", keys[0].Path)
	}
	s.warnOf(keys)
	s.Keys = keys
	return err
}

func (s *Server) warnOf(keys []hostkeys.Key) {
	for _, key := range keys {
		event := "host certificate ignored"
		if key.State == hostkeys.Previous {
			event = "host key not replaced"
		}
		if key.Problem != nil {
			s.Logger.Warn(event, "err", key.Problem, "hint", key.Problem.Hint())
		}
	}
}

// Build makes the SSH server of these layers, with the host keys that are loaded.
func (s *Server) Build(layers ...middleware.Layer) (err error) {
	s.stack = middleware.NewStack(layers...)
	s.stack.SlowDisconnects = s.slowDisconnects
	s.stack.Sessions = &session.Channels{WriteTimeout: s.Unread, Lifetime: s.Session, Counters: s.Counters}
	s.ssh, err = wish.NewServer(wish.WithVersion(s.Version), HostKeys(s.Keys), s.stack.Install)
	if err != nil {
		return err
	}
	first, err := s.usable(s.Keys)
	if err != nil {
		return err
	}
	s.stack.HostKeys = hostkeys.Watch(s.HostKeys, first, s.usable, s.invalid).Current
	s.Keys = s.shown()
	return nil
}

// usable returns the keys as the layers restrict them. It logs keys that differ from the last ones.
func (s *Server) usable(keys []hostkeys.Key) (set middleware.HostKeys, err error) {
	var srv ssh.Server
	_ = HostKeys(keys)(&srv)
	if set.Used, err = s.stack.AllowedHostKeys(srv.HostSigners); err != nil {
		return set, err
	}
	for _, key := range keys {
		if key.State == hostkeys.InUse {
			continue
		}
		if allowed, err := s.stack.AllowedHostKeys([]ssh.Signer{key.Signer}); err == nil {
			set.Other = append(set.Other, allowed...)
		}
	}
	description := describe(keys)
	if s.described != "" && s.described != description {
		s.Logger.Info("host keys changed", "keys", description)
		s.warnOf(keys)
	}
	s.described = description
	return set, nil
}

func (s *Server) invalid(err error) {
	facts := []any{"err", err}
	if hint, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		facts = append(facts, "hint", hint.Hint())
	}
	s.Logger.Error("host keys are invalid; keeping the last good ones", facts...)
}

func describe(keys []hostkeys.Key) string {
	var facts []string
	for _, key := range keys {
		fact := fmt.Sprintf("%s %s %s", key.Type(), key.Fingerprint(), key.State)
		switch {
		case key.Problem != nil:
			fact += " with a problem"
		case key.Certificate != nil:
			fact += " with certificate " + gossh.FingerprintSHA256(key.Certificate.PublicKey())
		}
		facts = append(facts, fact)
	}
	return strings.Join(facts, ", ")
}

// Names returns the names of the layers.
func (s *Server) Names() []string { return s.stack.Names() }

// HostKeys returns the option that gives a server those of the keys that are in use, with and without their certificates.
func HostKeys(keys []hostkeys.Key) ssh.Option {
	return func(srv *ssh.Server) error {
		for _, key := range keys {
			if key.State != hostkeys.InUse {
				continue
			}
			srv.AddHostKey(key.Signer)
			if key.Certificate != nil {
				srv.AddHostKey(key.Certificate)
			}
		}
		return nil
	}
}

// shown returns the keys in use that visitors see, and warns of those that the algorithms leave out.
func (s *Server) shown() []hostkeys.Key {
	return slices.DeleteFunc(slices.Clone(s.Keys), func(key hostkeys.Key) bool {
		if key.State != hostkeys.InUse {
			return true
		}
		if slices.ContainsFunc(s.ssh.HostSigners, func(k ssh.Signer) bool { return k.PublicKey().Type() == key.Type() }) {
			return false
		}
		s.Logger.Warn("host key not shown: visitors would need --algorithms compat", "key", key.Type(), "path", key.Path)
		return true
	})
}

// Serve serves until ctx is done or the process gets SIGINT or SIGTERM; then it drains. A signal during the drain ends the
// process at once, even where the program handles that signal otherwise.
func (s *Server) Serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.ssh.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	case <-s.signals:
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_ = s.listener.Close()
		<-served
		s.drain()
	}()
	select {
	case <-drained:
	case again := <-s.signals:
		signal.Reset(again)
		_ = syscall.Kill(os.Getpid(), again.(syscall.Signal))
		<-drained
	}
	return nil
}

// drain lets running sessions finish and closes everything else. The log has a last line for each connection.
func (s *Server) drain() {
	s.Events.Flush() // in their order
	s.Logger.Info("closing", "limit", s.Drain)
	ctx, cancel := context.WithTimeout(context.Background(), s.Drain)
	defer cancel()
	if n := s.stack.Drain(ctx, "This server is closing. Please come back later."); n > 0 {
		s.Logger.Warn("sessions cut off", "n", n)
	}
	s.stack.Close()
	_ = s.ssh.Close()
	closed, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.stack.Wait(closed)
	s.Counters.Flush()
	s.Events.Flush()
	s.Logger.Info("closed")
}

// listenError says what an operator can do about an address that cannot be opened.
func listenError(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return &ListenError{address, errors.New("the port is in use"), "try another one: foyer --listen :2222"}
	case errors.Is(err, syscall.EACCES):
		return &ListenError{address, errors.New("permission denied"),
			"ports below 1024 need a capability: setcap cap_net_bind_service=+ep on the foyer binary"}
	}
	return &ListenError{address, err, ""}
}

// ListenError is why a server cannot listen.
type ListenError struct {
	Address string
	Err     error
	Fix     string // what to do about it, if that is known
}

func (e *ListenError) Error() string { return fmt.Sprintf("listen on %s: %v", e.Address, e.Err) }

// Hint returns Fix.
func (e *ListenError) Hint() string { return e.Fix }

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.Err }
