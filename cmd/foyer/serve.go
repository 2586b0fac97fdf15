package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	gossh "golang.org/x/crypto/ssh"

	"foyer/hostkeys"
	"foyer/middleware/eventlog"
	"foyer/middleware/fairqueue"
	"foyer/middleware/server"
	"foyer/middleware/watchfile"
)

func serveCommand(cfg *Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve visitors (the default)",
		Args:  arguments,
		RunE: cfg.loaded(func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
		}),
	}
	cfg.settings.AddFlags(cmd.Flags())
	return cmd
}

// running is a server that runs, and what it was made of.
type running struct {
	server  *server.Server
	log     *eventlog.File // nil for stderr
	stderr  io.Writer
	adopted bool // it has sockets of systemd

	cfg   *Config
	users atomic.Pointer[users]
	texts atomic.Pointer[texts]
}

// serve serves until ctx is done or a signal arrives. It prints how to log in to stdout and the log to stderr. If nobody
// reads them any more, it serves on.
func serve(ctx context.Context, cfg *Config, stdout, stderr io.Writer) (err error) {
	signal.Ignore(syscall.SIGPIPE) // Go ends a process whose stdout or stderr is a pipe without a reader
	r := &running{cfg: cfg, stderr: stderr}
	if err := r.openLog(); err != nil {
		return err
	}
	sockets, err := systemdSockets()
	if err != nil {
		return err
	}
	cfg.HTTP.Listener = sockets.http()
	if r.server, err = server.New(cfg.Config); err != nil {
		return err
	}
	s := r.server
	s.Tracker.KnownUser = func(name string) bool { return r.users.Load().known(name) }
	s.Metrics.Queue("password_hash", r.hashQueue)
	s.Metrics.Maintenance(r.closed)
	reloads := s.Metrics.Reloads()
	s.Report, s.Unready = r.report, r.unready
	s.OnHangup = func() {
		notify(s, reloading())
		reloads(r.reload(ctx))
		notify(s, daemon.SdNotifyReady)
	}
	s.OnDrain = func() { notify(s, daemon.SdNotifyStopping) }
	defer s.Events.Flush()
	// Listening is the step that fails most often, so it comes before any file is created.
	if err := r.open(ctx, sockets); err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := r.build(cfg, s); err != nil {
		return err
	}
	if err := announce(stdout, s, r.users.Load()); err != nil {
		return err
	}
	s.LogListening()
	notify(s, daemon.SdNotifyReady+"\n"+status(s))
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go watch(watching, s)
	return s.Serve(ctx)
}

// open listens on the sockets of systemd, and on the addresses of the settings.
func (r *running) open(ctx context.Context, sockets sockets) error {
	r.adopted = sockets.adopt(r.server)
	r.leaveOutDefault(r.cfg)
	r.server.Listen = r.cfg.Listen
	return r.server.Open(ctx)
}

// leaveOutDefault removes the default address if there are sockets of systemd.
func (r *running) leaveOutDefault(cfg *Config) {
	if r.adopted && cfg.settings.IsDefault("listen") {
		cfg.Listen = []string{}
	}
}

// openLog makes the server log to the file of the settings, or to stderr.
func (r *running) openLog() (err error) {
	if r.cfg.LogFile == "" {
		r.cfg.useLog(r.stderr)
		return nil
	}
	if r.log, err = eventlog.OpenFile(r.cfg.LogFile); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	r.cfg.useLog(r.log)
	return nil
}

// build builds the server that cfg describes from the files. On a first start it creates them, the password file last.
func (r *running) build(cfg *Config, s *server.Server) error {
	texts, err := openTexts(cfg, s.Logger)
	if err != nil {
		return err
	}
	if texts.said, err = openRules(cfg, s.Logger); err != nil {
		return err
	}
	if texts.maintenance, err = openMaintenance(cfg, s.Logger); err != nil {
		return err
	}
	if err := s.LoadHostKeys(); err != nil {
		return err
	}
	users, err := openUsers(cfg, s.Logger, r.stderr, r.users.Load())
	if err != nil {
		return err
	}
	clean(cfg, s.Logger)
	if err := s.Build(layers(cfg, s, users, texts)...); err != nil {
		return err
	}
	r.users.Store(users)
	texts.unready = cfg.MaintenanceUnready
	r.texts.Store(&texts)
	isRSA := func(key hostkeys.Key) bool { return key.Type() == gossh.KeyAlgoRSA }
	if cfg.Algorithms == "compat" && !slices.ContainsFunc(s.Keys, isRSA) {
		s.Logger.Warn("old clients need an rsa host key", "hint", "run: foyer hostkey add rsa")
	}
	return nil
}

// hashQueue describes the queue of logins that wait for a hash.
func (r *running) hashQueue() (stats fairqueue.Stats) {
	if users := r.users.Load(); users != nil && users.passwords != nil {
		stats = users.passwords.QueueStats()
	}
	return stats
}

// closed reports whether the server is under maintenance.
func (r *running) closed() bool {
	texts := r.texts.Load()
	return texts != nil && texts.maintenance.On(time.Now())
}

// unready returns why a balancer should send nobody, or "".
func (r *running) unready() string {
	if texts := r.texts.Load(); texts == nil || !texts.unready || !r.closed() {
		return ""
	}
	return "the server is under maintenance"
}

// report is what SIGUSR1 logs in addition.
func (r *running) report() []any {
	users := r.users.Load()
	if users.passwords == nil {
		return nil
	}
	return []any{"hash-queue", users.passwords.QueueStats().Waiting, "hash-refused", users.passwords.Refused()}
}

// clean deletes the temporary files of edits that crashed. They hold hashes and private keys.
func clean(cfg *Config, logger *slog.Logger) {
	for _, path := range []string{cfg.HostKeys, cfg.Keys, cfg.Passwords, cfg.MaintenanceFile} {
		if err := watchfile.Clean(path); err != nil {
			logger.Warn("temporary file left behind", problem(err)...)
		}
	}
}
