package server

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"foyer/middleware/limits"
	"foyer/middleware/session"
	"foyer/middleware/source"
)

// Config is how a server runs. The zero value is what foyer does by default.
type Config struct {
	// Listen are the addresses: host:port, or unix:PATH; ":2022" if it is nil.
	Listen []string
	// HostKeys is the directory of the host keys, "hostkeys" by default. A key is made there if there is none.
	HostKeys string
	// Version is what the server announces after "SSH-2.0-": "foyer" by default.
	Version string
	// Networks says which addresses are one source, and which are exempt from penalties and limits.
	Networks source.Networks
	// HTTP is the listener for metrics and health checks.
	HTTP HTTP
	Limits
	Deadlines
	Log
}

// Limits are how many there may be. A number of connections that is 0 is derived from the number of descriptors that the
// process may have.
type Limits struct {
	Connections              int // at once; by default the descriptor limit less 64, 4096 at most
	PerSource                int // at once from one source; by default half of Connections
	Unauthenticated          int // at once without authentication; by default half of Connections, 1024 at most
	UnauthenticatedPerSource int // at once without authentication from one source; by default half of Unauthenticated
	Sessions                 int // at once on a connection, as sshd's MaxSessions; 10 by default
	SessionsEver             int // in all on a connection; 1000 by default
}

// Deadlines are how long things may take. Zero stands for the default.
type Deadlines struct {
	Handshake time.Duration // until a client is authenticated, as sshd's LoginGraceTime; 2 min by default, as there
	Idle      time.Duration // without a session; 30 s by default
	Session   time.Duration // of a session; 10 min by default, no limit if negative
	Unread    time.Duration // until output must be read; 10 s by default
	Keepalive time.Duration // between two questions whether the client is there; three unanswered end the connection; 15 s
	// DrainDelay is how long the server goes on accepting clients when it is told to stop, while /readyz fails, so that
	// balancers send them elsewhere; none by default.
	DrainDelay time.Duration
	Drain      time.Duration // for sessions to finish when the server is told to stop; 8 s, as container runtimes kill after 10
}

// Log is where the log goes, and how much of it.
type Log struct {
	Writer io.Writer  // os.Stderr by default
	Format string     // one of eventlog.Formats; "logfmt" by default
	Level  slog.Level // info by default
	Rate   int        // lines a second, for strangers and for visitors each; 100 by default, no limit if negative
}

// The defaults of Limits that do not depend on descriptors.
const (
	DefaultSessions     = 10
	DefaultSessionsEver = 1000
)

const (
	// spareDescriptors are for everything that is not a connection, a quarter of them; for connections that are told to
	// come back later and have little time to read it; and for those that have a second, maxSlowDisconnects of them where there are
	// enough descriptors.
	spareDescriptors   = 64
	maxSlowDisconnects = 256
	// maxConnections and maxUnauthenticated are defaults that bound memory. An open connection takes about 60 kB, and one
	// that has announced the longest packet before anybody knows who it is takes a quarter of a megabyte.
	maxConnections     = 4096
	maxUnauthenticated = 1024
)

// withDefaults returns the limits that follow from the number of descriptors, and how many connections at once may have a
// second to read why they are disconnected.
func (l Limits) withDefaults(descriptors int) (limits Limits, slowDisconnects int) {
	half := func(n int) int { return max(n/2, 1) }
	l.Connections = cmp.Or(l.Connections, min(max(descriptors-spareDescriptors, descriptors/2, 1), maxConnections))
	l.PerSource = cmp.Or(l.PerSource, half(l.Connections))
	l.Unauthenticated = cmp.Or(l.Unauthenticated, min(half(l.Connections), maxUnauthenticated))
	l.UnauthenticatedPerSource = cmp.Or(l.UnauthenticatedPerSource, half(l.Unauthenticated))
	l.Sessions, l.SessionsEver = cmp.Or(l.Sessions, DefaultSessions), cmp.Or(l.SessionsEver, DefaultSessionsEver)
	return l, min(max(descriptors-l.Connections-spareDescriptors*3/4, 1), maxSlowDisconnects)
}

// WithDefaults returns d with its defaults filled in.
func (d Deadlines) WithDefaults() Deadlines {
	return Deadlines{
		Handshake: cmp.Or(d.Handshake, 2*time.Minute),
		Idle:      cmp.Or(d.Idle, 30*time.Second),
		Session:   cmp.Or(d.Session, session.DefaultLifetime),
		Unread:    cmp.Or(d.Unread, session.DefaultWriteTimeout),
		Keepalive: cmp.Or(d.Keepalive, 15*time.Second),
		Drain:     cmp.Or(d.Drain, 8*time.Second),

		DrainDelay: d.DrainDelay,
	}
}

// Validate returns the error with which [New] would refuse cfg.
func (cfg Config) Validate() error {
	_, _, err := cfg.withDefaults()
	return err
}

// withDefaults returns cfg with its defaults filled in.
func (cfg Config) withDefaults() (Config, int, error) {
	available := limits.Descriptors()
	if cfg.Limits.Connections > available {
		return cfg, 0, tooManyError{cfg.Limits.Connections, available}
	}
	if err := cfg.Networks.Validate(); err != nil {
		return cfg, 0, err
	}
	var slowDisconnects int
	cfg.Limits, slowDisconnects = cfg.Limits.withDefaults(available)
	cfg.Deadlines = cfg.Deadlines.WithDefaults()
	if cfg.Listen == nil {
		cfg.Listen = []string{":2022"}
	}
	cfg.HostKeys = cmp.Or(cfg.HostKeys, "hostkeys")
	cfg.Version = cmp.Or(cfg.Version, "foyer")
	cfg.Format = cmp.Or(cfg.Format, "logfmt")
	if cfg.Writer == nil {
		cfg.Writer = os.Stderr
	}
	return cfg, slowDisconnects, nil
}

// tooManyError is why a server does not start that may have more connections than descriptors.
type tooManyError struct{ connections, descriptors int }

func (e tooManyError) Error() string {
	return fmt.Sprintf("max-connections: %d is more than the %d descriptors that the process may have", e.connections, e.descriptors)
}

// Hint says what the operator can do about it.
func (tooManyError) Hint() string {
	return "raise the limit first, as in ulimit -n 65536, or LimitNOFILE= in the systemd unit"
}
