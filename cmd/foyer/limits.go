package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"charm.land/log/v2"
	"github.com/spf13/pflag"

	"foyer/cmd/cli"
	"foyer/cmd/descriptors"
	"foyer/middleware"
	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/session"
)

// Limits is how many may come. Numbers of connections that are 0 are derived from the number of descriptors that the
// process may have.
type Limits struct {
	Connections, PerSource                    int
	Unauthenticated, UnauthenticatedPerSource int
	Sessions, SessionsEver                    int

	farewells int // of those who are turned away, how many have time to hear it
}

// Deadlines is how long they may stay.
type Deadlines struct {
	Handshake, Idle, Session, Unread, Keepalive, Drain time.Duration
}

func (l *Limits) addFlags(fs *pflag.FlagSet) {
	fs.IntVar(&l.Connections, "max-connections", 0, "connections at once (default: the descriptor limit less 64, and 4096 at most)")
	fs.IntVar(&l.PerSource, "max-connections-per-source", 0, "connections at once of one source (default: half of them)")
	fs.IntVar(&l.Unauthenticated, "max-unauthenticated", 0, "connections at once without authentication; over it the oldest goes (default: half, and 1024 at most)")
	fs.IntVar(&l.UnauthenticatedPerSource, "max-unauthenticated-per-source", 0, "connections at once without authentication of one source (default: half of those)")
	fs.IntVar(&l.Sessions, "max-sessions", 10, "sessions at once on a connection, as sshd's MaxSessions")
	fs.IntVar(&l.SessionsEver, "max-sessions-ever", 1000, "sessions in all on a connection")
}

func (d *Deadlines) addFlags(fs *pflag.FlagSet) {
	fs.DurationVar(&d.Handshake, "handshake-timeout", 30*time.Second, "how long a client may take until it is authenticated, as sshd's LoginGraceTime")
	fs.DurationVar(&d.Idle, "idle-timeout", 30*time.Second, "how long a connection may be without a session")
	fs.DurationVar(&d.Session, "session-timeout", session.DefaultLifetime, "how long a session may last")
	fs.DurationVar(&d.Unread, "unread-timeout", session.DefaultWriteTimeout, "how long a client may leave output unread")
	fs.DurationVar(&d.Keepalive, "keepalive", 15*time.Second, "how often a client is asked whether it is there; three times without an answer, and it is gone")
	// The default is less than the ten seconds after which container runtimes kill.
	fs.DurationVar(&d.Drain, "drain-timeout", 8*time.Second, "how long sessions may go on once foyer was told to stop")
}

// validate reports the first number that cannot be, and fills in those that are derived.
func (l *Limits) validate() error {
	for _, number := range []struct {
		flag  string
		value int
		least int
	}{
		{"max-connections", l.Connections, 0},
		{"max-connections-per-source", l.PerSource, 0},
		{"max-unauthenticated", l.Unauthenticated, 0},
		{"max-unauthenticated-per-source", l.UnauthenticatedPerSource, 0},
		{"max-sessions", l.Sessions, 1},
		{"max-sessions-ever", l.SessionsEver, 1},
	} {
		if number.value < number.least {
			return cli.Usage(fmt.Errorf("%s: %d is less than %d", number.flag, number.value, number.least))
		}
	}
	available := descriptors.Limit()
	l.derive(available)
	if l.Connections > available {
		return cli.Misuse("raise the limit first, as in ulimit -n 65536, or LimitNOFILE= in the systemd unit",
			"max-connections: %d, and there are %d descriptors", l.Connections, available)
	}
	return nil
}

const (
	// spareDescriptors are for what is no connection, a quarter of them, for connections that are being turned away in a
	// hurry, and for those that are given time, which are maxFarewells where there are more descriptors.
	spareDescriptors = 64
	maxFarewells     = 256
	// defaultConnections and defaultUnauthenticated keep the memory in bounds: a held connection takes about 60 kB, and
	// one that has announced the longest packet, before anybody knows who it is, a quarter of a megabyte.
	defaultConnections     = 4096
	defaultUnauthenticated = 1024
)

// derive fills in the numbers that are 0.
func (l *Limits) derive(descriptors int) {
	l.Connections = cmp.Or(l.Connections, min(max(descriptors-spareDescriptors, descriptors/2, 1), defaultConnections))
	half := func(n int) int { return max(n/2, 1) }
	l.PerSource = cmp.Or(l.PerSource, half(l.Connections))
	l.Unauthenticated = cmp.Or(l.Unauthenticated, min(half(l.Connections), defaultUnauthenticated))
	l.UnauthenticatedPerSource = cmp.Or(l.UnauthenticatedPerSource, half(l.Unauthenticated))
	l.farewells = min(max(descriptors-l.Connections-spareDescriptors*3/4, 1), maxFarewells)
}

// places returns how many connections may be open at once: those that there may be, and those that are turned away.
func (l *Limits) places() int { return l.Connections + l.farewells + spareDescriptors/2 }

func (d *Deadlines) validate() error {
	for _, deadline := range []struct {
		flag  string
		value time.Duration
	}{
		{"handshake-timeout", d.Handshake},
		{"idle-timeout", d.Idle},
		{"session-timeout", d.Session},
		{"unread-timeout", d.Unread},
		{"keepalive", d.Keepalive},
		{"drain-timeout", d.Drain},
	} {
		if deadline.value <= 0 {
			return cli.Usage(fmt.Errorf("%s: %s is not more than 0", deadline.flag, deadline.value))
		}
	}
	if d.Keepalive < time.Second {
		return cli.Usage(errors.New("keepalive: less than a second"))
	}
	return nil
}

// gate is what is known of who comes and goes.
type gate struct {
	counts *counters.Counters
	lines  *eventlog.Log
	table  *limits.Table
}

func newGate(cfg *Config, logger *log.Logger, page *eventlog.Page) *gate {
	bits4, bits6 := cfg.sources()
	counts := counters.New(counters.Config{Logger: logger, Prefix4: bits4, Prefix6: bits6})
	exempt, _ := cfg.exempt() // validated
	lines := eventlog.New(eventlog.Config{Sink: logger, Rate: cfg.LogRate, Counters: counts, Page: page})
	return &gate{counts, lines, limits.NewTable(limits.Config{
		Max: cfg.Connections, MaxPerSource: cfg.PerSource,
		MaxUnauthenticated: cfg.Unauthenticated, MaxUnauthenticatedPerSource: cfg.UnauthenticatedPerSource,
		MaxSessions: cfg.Sessions, MaxSessionsEver: cfg.SessionsEver, Farewells: limits.NewFarewells(cfg.farewells),
		Prefix4: bits4, Prefix6: bits6, Exempt: exempt,
		Counters: counts,
	})}
}

// deadlines returns what the layer of that name takes.
func (g *gate) deadlines(cfg *Config) middleware.DeadlinesConfig {
	return middleware.DeadlinesConfig{Handshake: cfg.Handshake, Idle: cfg.Idle, Keepalive: cfg.Keepalive, Counters: g.counts}
}
