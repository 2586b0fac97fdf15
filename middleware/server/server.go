// Package server runs a stack of layers as a program does: it makes what the layers share, listens, serves until it is told
// to stop, and lets running sessions finish. A whole server with one handler is about 25 lines:
//
//	s, err := server.New(server.Config{})
//	if err != nil {
//		log.Fatal(err)
//	}
//	err = s.Run(context.Background(),
//		middleware.Recover(),
//		middleware.Penalties(s.Tracker),
//		middleware.Limits(s.Table),
//		middleware.Deadlines(s.ConnectionDeadlines()),
//		middleware.Budgets(s.Budgets),
//		middleware.Algorithms("default"),
//		middleware.Logging(s.Events),
//		middleware.Open(),
//		middleware.HostKeyUpdate(),
//		middleware.Handler("hello", hello),
//	)
package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	charm "charm.land/log/v2"
	"charm.land/ssh"
	"charm.land/wish/v2"

	"foyer/hostkeys"
	"foyer/middleware"
	"foyer/middleware/budgets"
	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/metrics"
	"foyer/middleware/penalties"
	"foyer/middleware/session"
	"foyer/middleware/share"
)

// Server is a server and what its layers share.
type Server struct {
	Config                      // with defaults filled in
	Logger   *slog.Logger       // what the operator reads; not bounded
	Events   *eventlog.Log      // what happens on connections
	Counters *counters.Counters // of the limits that are reached
	Table    *limits.Table      // of the connections
	Tracker  *penalties.Tracker // of the sources' penalties
	Budgets  *budgets.Budgets   // of the connections
	Metrics  *metrics.Metrics   // nil without an HTTP listener
	Keys     []hostkeys.Key     // set by LoadHostKeys; Build leaves those that key exchanges use at first
	// OnHangup is called when the process gets SIGHUP. If it is nil, SIGHUP ends the process, as without a handler.
	OnHangup func()
	// OnDrain is called when the server is told to stop, if it is not nil.
	OnDrain func()
	// Unready returns why a server that serves should get no visitors, or "". It may be nil.
	Unready func() string
	// Report is what the server logs when the process gets SIGUSR1, in addition to its connections: keys and values.
	Report func() []any

	replica         *share.Replica // nil if nothing is shared
	level           *slog.LevelVar
	slowDisconnects int
	signals         chan os.Signal // to stop
	hangup, report  chan os.Signal
	front           *front
	stack           *middleware.Stack
	ssh             *ssh.Server
	http            *httpServer // nil if there is none
}

// New returns a server that does not listen yet. Its error is a bad setting. It makes the log of libraries
// (slog.SetDefault, and that of Charm's log) part of the server's.
func New(cfg Config) (*Server, error) {
	cfg, slowDisconnects, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{Config: cfg, slowDisconnects: slowDisconnects, level: &slog.LevelVar{}, signals: make(chan os.Signal, 1), hangup: make(chan os.Signal, 1), report: make(chan os.Signal, 1)}
	s.front = &front{slots: &slots{limit: s.slots()}, listeners: map[string]*retryListener{}}
	batch, writer := s.openLog()
	s.Counters = counters.New(counters.Config{Logger: s.Logger, Networks: cfg.Networks})
	s.Budgets = &budgets.Budgets{Counters: s.Counters}
	s.Events = eventlog.New(eventlog.Config{Logger: s.Logger, Rate: cfg.Rate, Counters: s.Counters, Batch: batch})
	s.Table = limits.NewTable(s.limits())
	s.Tracker, err = penalties.NewTracker(penalties.Config{
		Networks: cfg.Networks, Logger: s.Events.Unauthenticated(), Refused: s.Counters.CountPenalty,
	})
	s.newMetrics(writer)
	return s, err
}

// Share makes the server share penalties with others from [Server.Serve] on.
func (s *Server) Share(engine share.Engine, key share.Key) {
	s.replica = share.New(share.Config{Engine: engine, Key: key, Max: s.Tracker.Max, Logger: s.Logger})
	s.Tracker.Shared = s.replica
	s.Metrics.Share(s.replica.Stats)
}

// Switch returns the maintenance switch that servers share, or nil.
func (s *Server) Switch() *share.Switch { return s.replica.Switch() }

// Rules returns the rules by which an engine adds up penalties for this server.
func (s *Server) Rules() share.Rules { return share.Rules{Min: s.Tracker.Min, Max: s.Tracker.Max} }

// openLog makes the logger. It returns the writer that batches its lines, or nil if the log is for people, who see each line
// at once.
func (s *Server) openLog() (batch *eventlog.BatchWriter, writer *eventlog.TimeoutWriter) {
	s.level.Set(s.Level)
	writer = eventlog.NewTimeoutWriter(s.Writer, func(lines int) {
		s.Logger.Error("log lines lost: the log was not read", "n", lines)
	})
	if s.Format == "text" {
		s.Logger = eventlog.NewLogger(writer, s.Format, s.level)
	} else {
		batch = eventlog.NewBatchWriter(writer)
		s.Logger = eventlog.NewLogger(batch, s.Format, s.level)
	}
	s.Logger = slog.New(eventlog.CountErrors(s.Logger.Handler(), &s.front.errors))
	libraries := eventlog.Library(s.Logger, nil)
	slog.SetDefault(slog.New(libraries))
	charm.SetDefault(eventlog.Charm(libraries))
	return batch, writer
}

// slots returns how many connections may be open: those that there may be, and those that are told to go.
func (s *Server) slots() int { return s.Connections + s.slowDisconnects + spareDescriptors/2 }

func (s *Server) limits() limits.Config {
	return limits.Config{
		Max: s.Connections, MaxPerSource: s.PerSource,
		MaxUnauthenticated: s.Unauthenticated, MaxUnauthenticatedPerSource: s.UnauthenticatedPerSource,
		MaxSessions: s.Sessions, MaxSessionsEver: s.SessionsEver,
		Networks: s.Networks, Counters: s.Counters,
	}
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
	s.LogListening()
	return s.Serve(ctx)
}

// LogListening logs the addresses.
func (s *Server) LogListening() {
	for _, addr := range s.Addrs() {
		s.Logger.Info("listening", "addr", addr, "connections", s.Connections)
	}
}

// Open listens on the addresses. Nobody is served yet. From now on SIGINT and SIGTERM do not end the process: if one comes
// before Serve is called, Serve drains at once.
func (s *Server) Open(ctx context.Context) error {
	// A channel for each kind: many of one must not make another one be lost.
	signal.Notify(s.signals, os.Interrupt, syscall.SIGTERM)
	notifyReport(s.report)
	if s.OnHangup != nil {
		signal.Notify(s.hangup, syscall.SIGHUP)
	}
	for _, address := range s.Listen {
		if err := s.front.open(ctx, address, s.Deadlines); err != nil {
			_ = s.Close()
			return err
		}
	}
	if err := s.openHTTP(ctx); err != nil {
		_ = s.Close()
		return err
	}
	return nil
}

// Adopt makes the server use a listener that another program has opened. It stays open when the addresses change.
func (s *Server) Adopt(name string, listener net.Listener) {
	s.front.add(adoptedPrefix+name, newRetryListener(listener, s.front.slots))
}

// Alive returns an error if the server does not greet a client within a time: a connection inside the process, which the log
// does not show. Before it serves there is no error.
func (s *Server) Alive(within time.Duration) error {
	now := s.front.current.Load()
	if now == nil {
		return nil
	}
	client, conn := net.Pipe()
	defer func() { _ = client.Close() }()
	_ = client.SetDeadline(time.Now().Add(within))
	now.stack.Handle(now.ssh, conn)
	_, err := bufio.NewReader(client).ReadString('\n')
	return err
}

// Addrs returns the addresses on which the server listens.
func (s *Server) Addrs() []net.Addr { return s.front.addrs() }

// Close stops listening.
func (s *Server) Close() error {
	signal.Stop(s.signals) // the others stay harmless until the process has ended
	s.http.close()
	return s.front.close()
}

// LoadHostKeys loads the host keys and makes one if there is none.
func (s *Server) LoadHostKeys() error {
	load := hostkeys.LoadOrCreate
	if s.stack != nil { // a server that is running has keys; visitors know them
		load = loadHostKeys
	}
	keys, created, err := load(s.HostKeys)
	if err == nil && created {
		s.Logger.Info("host key created", "path", keys[0].Path)
	}
	warnOf(s.Logger, keys)
	s.Keys = keys
	return err
}

func loadHostKeys(dir string) (keys []hostkeys.Key, created bool, err error) {
	keys, err = hostkeys.Load(dir)
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("%s: no host keys", dir)
	}
	return keys, false, err
}

// Build makes the SSH server of these layers, with the host keys that are loaded.
func (s *Server) Build(layers ...middleware.Layer) (err error) {
	if s.stack == nil {
		s.stack = middleware.NewStack(layers...)
	} else {
		s.stack = s.stack.Replace(layers...)
	}
	s.stack.SlowDisconnects = s.slowDisconnects
	s.stack.Sessions = &session.Channels{WriteTimeout: s.Unread, Lifetime: s.Session, Counters: s.Counters}
	s.ssh, err = wish.NewServer(wish.WithVersion(s.Version), HostKeys(s.Keys), s.stack.Install)
	if err != nil {
		return err
	}
	if err := watchHostKeys(s.stack, s.HostKeys, s.Keys, s.Logger); err != nil {
		return err
	}
	s.Keys = s.shown()
	return nil
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

// Next returns the server that s becomes with another configuration, for [Server.LoadHostKeys], [Server.Build] and then
// [Server.Become]. What the layers share is the same.
func (s *Server) Next(cfg Config) (*Server, error) {
	next := *s
	var err error
	next.Config, next.slowDisconnects, err = cfg.withDefaults()
	return &next, err
}

// Become makes new connections those of next. Open ones keep the settings and layers that they have. Addresses that next
// does not have are closed, unless one that it has in addition cannot be opened, which is logged. The log's writer and format
// stay. It must not be called concurrently, or beside a drain: OnHangup may call it.
func (s *Server) Become(ctx context.Context, next *Server) {
	opened := true
	for _, address := range next.Listen {
		if err := s.front.open(ctx, address, next.Deadlines); err != nil {
			opened = false
			s.Logger.Error("address needs a restart", "addr", address, "err", err)
		}
	}
	s.Config, s.Keys, s.stack, s.ssh, s.slowDisconnects = next.Config, next.Keys, next.stack, next.ssh, next.slowDisconnects
	s.Table.SetConfig(s.limits())
	s.Tracker.SetNetworks(s.Networks)
	s.Counters.SetNetworks(s.Networks)
	s.Events.SetRate(s.Rate)
	s.level.Set(s.Level)
	s.front.slots.setLimit(s.slots())
	s.front.setDeadlines(s.Deadlines)
	s.front.current.Store(&generation{s.stack, s.ssh})
	if opened {
		_ = s.front.closeExcept(s.Listen)
	}
}

// Serve serves until ctx is done or the process gets SIGINT or SIGTERM; then it drains. A signal during the drain ends the
// process at once, even where the program handles that signal otherwise.
func (s *Server) Serve(ctx context.Context) error {
	s.front.current.Store(&generation{s.stack, s.ssh})
	s.replica.Start() // a source that others block does not get in first
	s.front.start()
	s.http.enter(serving)
	for s.isServing(ctx) {
	}
	s.http.enter(closing)
	if s.OnDrain != nil {
		s.OnDrain()
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		time.Sleep(s.Deadlines.DrainDelay)
		_ = s.front.close()
		s.front.serving.Wait()
		s.drain()
		s.replica.Stop() // sends the last penalties
	}()
	for {
		select {
		case <-drained:
			return nil
		case again := <-s.signals:
			signal.Reset(again)
			raise(again)
		}
	}
}

// isServing waits for a signal and acts on it. It returns false when the server has to drain.
func (s *Server) isServing(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-s.signals:
		return false
	case <-s.hangup:
		s.OnHangup()
	case <-s.report:
		s.logReport()
	}
	return true
}

// logReport logs what is open.
func (s *Server) logReport() {
	s.Events.Flush() // in their order
	stages, sessions := s.stack.Count()
	facts := []any{
		"connected", stages[middleware.Connected] + stages[middleware.Speaking], "keys-exchanged", stages[middleware.KeysExchanged],
		"authenticated", stages[middleware.Authenticated], "sessions", sessions, "blocked", s.Tracker.Blocked(),
		"goroutines", runtime.NumGoroutine(),
	}
	if s.Report != nil {
		facts = append(facts, s.Report()...)
	}
	s.Logger.Info("report", facts...)
	counts := s.Counters.Counts()
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		s.Logger.Info("report of a limit", "reason", string(reason), "n", counts[reason])
	}
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
		if strings.HasPrefix(address, "unix:") {
			return &ListenError{address, errors.New("the socket is in use"), ""}
		}
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
