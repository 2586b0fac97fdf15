package penalties

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"charm.land/log/v2"
)

// Config is how hard a [Ledger] is. The zero value has sshd's defaults, except for Prefix6.
type Config struct {
	// What a connection costs that ends without authentication: 5s, 5s, 1s and 10s where they are zero, and nothing
	// where they are negative.
	AuthFail, InvalidUser, NoAuth, GraceExceeded time.Duration
	// Min is what a source may owe before it is blocked, 15s by default, and Max the most that it can owe, 10m.
	Min, Max time.Duration
	// Prefix4 and Prefix6 are how many bits of an address make a source. An IPv4 address is one person's or one
	// office's: 32 by default. With IPv6 a subscriber has at least a /64, and 2^64 addresses in it to come from: 64,
	// where sshd has 128.
	Prefix4, Prefix6 int
	// Exempt are the networks that pay nothing and are never refused: the health checker, the bastion.
	Exempt []netip.Prefix
	// MaxSources4 and MaxSources6 bound the tables: 65536 by default, which take up to 16 MB each.
	MaxSources4, MaxSources6 int
	// KnownUser reports whether there is such a user, and is asked at each failed attempt; with nil there always is.
	// Where InvalidUser differs from AuthFail, the moment at which a block begins tells strangers what it reported.
	KnownUser func(name string) bool
	// Logger hears of blocks, as many as strangers care to have: it has to be bounded. The default logger where it is nil.
	Logger interface {
		Info(event any, facts ...any)
		Warn(event any, facts ...any)
	}
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
	cfg.Prefix4, cfg.Prefix6 = cmp.Or(cfg.Prefix4, 32), cmp.Or(cfg.Prefix6, 64)
	cfg.MaxSources4, cfg.MaxSources6 = cmp.Or(cfg.MaxSources4, 1<<16), cmp.Or(cfg.MaxSources6, 1<<16)
	cfg.Exempt = slices.Clone(cfg.Exempt)
	if cfg.KnownUser == nil {
		cfg.KnownUser = func(string) bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = log.Default()
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
	case cfg.Prefix4 < 1 || cfg.Prefix4 > 32:
		return fmt.Errorf("IPv4 prefix /%d is not one of /1 to /32", cfg.Prefix4)
	case cfg.Prefix6 < 1 || cfg.Prefix6 > 128:
		return fmt.Errorf("IPv6 prefix /%d is not one of /1 to /128", cfg.Prefix6)
	case cfg.MaxSources4 < 1 || cfg.MaxSources6 < 1:
		return errors.New("a table has room for at least one source")
	}
	for _, network := range cfg.Exempt {
		switch {
		case !network.IsValid():
			return errors.New("an exempt network is not valid")
		case network.Addr().Is4In6():
			return fmt.Errorf("exempt network %s: write it as IPv4", network)
		case network != network.Masked():
			return fmt.Errorf("exempt network %s has host bits: write %s", network, network.Masked())
		}
	}
	return nil
}
