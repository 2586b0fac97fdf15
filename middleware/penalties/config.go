package penalties

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"foyer/middleware/source"
)

// Config is how hard a [Ledger] is. The zero value has sshd's defaults, except for Prefix6.
type Config struct {
	// What a connection costs that ends without authentication: 5s, 5s, 1s and 10s where they are zero, and nothing
	// where they are negative.
	AuthFail, InvalidUser, NoAuth, GraceExceeded time.Duration
	// Min is what a source may owe before it is blocked, 15s by default, and Max the most that it can owe, 10m.
	Min, Max time.Duration
	// Networks says which addresses are one source. Its exempt networks pay nothing and are never refused: the health
	// checker, the bastion.
	Networks source.Networks
	// MaxSources4 and MaxSources6 bound the tables: 65536 by default, which take up to 16 MB each.
	MaxSources4, MaxSources6 int
	// KnownUser reports whether there is such a user, and is asked at each failed attempt; with nil there always is.
	// Where InvalidUser differs from AuthFail, the moment at which a block begins tells strangers what it reported.
	KnownUser func(name string) bool
	// Logger gets a line for each block, as many as strangers cause: it must be bounded. The default logger if nil.
	Logger *slog.Logger
	// Refused hears of each connection that is refused, and of its source's last penalty, if it is not nil.
	Refused func(reason Reason, peer net.Addr)
	// Now is for tests; [time.Now] where it is nil.
	Now func() time.Time
}

// complete returns cfg with its defaults in place, and why it cannot be used.
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
		return errors.New("a table has room for at least one source")
	}
	return cfg.Networks.Validate()
}
