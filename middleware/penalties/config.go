package penalties

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"foyer/middleware/source"
)

// Config configures a [Tracker]. The zero value has sshd's defaults, except that an IPv6 source is a /64.
type Config struct {
	// The penalties for a connection that ends without authentication: 5s, 5s, 1s and 10s if they are zero, none if
	// they are negative.
	AuthFail, InvalidUser, NoAuth, GraceExceeded time.Duration
	// Min is the accumulated penalty above which a source is blocked, 15s by default. Max is the largest accumulated
	// penalty, 10m by default.
	Min, Max time.Duration
	// Networks says which addresses are one source. Its exempt networks, such as a health checker's or a bastion's, get
	// no penalties and are never refused.
	Networks source.Networks
	// MaxSources4 and MaxSources6 limit the tables: 65536 sources by default, which take up to 16 MB each.
	MaxSources4, MaxSources6 int
	// KnownUser reports whether a user exists. It is called after each failed attempt; nil means that every user
	// exists. If InvalidUser differs from AuthFail, clients can find out which users exist from the time at which they
	// are blocked.
	KnownUser func(name string) bool
	// Logger writes a line for each block; the default logger if nil. Clients decide how many lines that is, so the
	// logger must limit them.
	Logger *slog.Logger
	// Refused is called for each refused connection, with the reason of its source's last penalty, if it is not nil.
	Refused func(reason Reason, peer net.Addr)
	// Shared is what several servers know of sources together; nil for a server that stands alone.
	Shared Shared
	// Now is for tests; [time.Now] if nil.
	Now func() time.Time
}

// Shared is what several servers know of sources together. It is asked on each connection, so its methods must not wait
// for the network. It cannot unblock a source, and it is not asked about exempt networks.
type Shared interface {
	// Add tells the other servers of a penalty.
	Add(source netip.Prefix, penalty time.Duration)
	// Blocked returns how long a source is still blocked, and whether this is the first call that says so.
	Blocked(source netip.Prefix) (left time.Duration, first bool)
}

// complete returns cfg with the defaults filled in, or an error if it is invalid.
func (cfg Config) complete() (Config, error) {
	defaults := func(d *time.Duration, otherwise time.Duration) { *d = cmp.Or(*d, otherwise) }
	defaults(&cfg.AuthFail, 5*time.Second)
	defaults(&cfg.InvalidUser, 5*time.Second)
	defaults(&cfg.NoAuth, time.Second)
	defaults(&cfg.GraceExceeded, 10*time.Second)
	defaults(&cfg.Min, 15*time.Second)
	defaults(&cfg.Max, 10*time.Minute)
	cfg.MaxSources4, cfg.MaxSources6 = cmp.Or(cfg.MaxSources4, 1<<16), cmp.Or(cfg.MaxSources6, 1<<16)
	if cfg.KnownUser == nil {
		cfg.KnownUser = func(string) bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Refused == nil {
		cfg.Refused = func(Reason, net.Addr) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return cfg, cfg.check()
}

func (cfg Config) check() error {
	switch {
	case cfg.Min < 0:
		return fmt.Errorf("minimum %s is negative", cfg.Min)
	case cfg.Max <= cfg.Min:
		return fmt.Errorf("maximum %s is not more than the minimum, %s: nothing would be blocked", cfg.Max, cfg.Min)
	case cfg.MaxSources4 < 1 || cfg.MaxSources6 < 1:
		return errors.New("the maximum number of sources must be positive")
	}
	return cfg.Networks.Validate()
}
