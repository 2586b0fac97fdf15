package penalties

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"foyer/middleware/source"
)

// Tracker tracks the penalties of all sources and refuses connections from blocked ones. It logs when a block begins,
// and when it ends how many connections were refused. It does not log single connections.
type Tracker struct {
	Config
	networks atomic.Pointer[source.Networks]
	v4, v6   *Table
	start    time.Time // times are relative to it, so that setting the wall clock has no effect
}

// NewTracker returns a tracker without penalties.
func NewTracker(cfg Config) (*Tracker, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	t := &Tracker{
		Config: cfg,
		v4:     NewTable(cfg.Min, cfg.Max, cfg.MaxSources4),
		v6:     NewTable(cfg.Min, cfg.Max, cfg.MaxSources6),
		start:  cfg.Now(),
	}
	t.networks.Store(&t.Networks)
	return t, nil
}

// SetNetworks changes which addresses are one source, and which are exempt, for new connections.
func (t *Tracker) SetNetworks(networks source.Networks) { t.networks.Store(&networks) }

// Admit reports whether a connection from peer is admitted. The connection is nil if it is refused, exempt, or not an IP
// connection.
func (t *Tracker) Admit(peer net.Addr) (c *Connection, admitted bool) {
	network, exempt := t.networks.Load().Of(source.Addr(peer))
	if exempt {
		return nil, true
	}
	c = &Connection{tracker: t, table: t.v6, source: network}
	if network.Addr().Is4() {
		c.table = t.v4
	}
	reason, refused, ended := c.table.Refuse(t.now(), c.source)
	t.logEnded(ended)
	if !refused && t.blockedElsewhere(network) {
		reason, refused = Elsewhere, true
	}
	if refused {
		t.Refused(reason, peer)
		return nil, false
	}
	return c, true
}

// blockedElsewhere reports whether the servers together block a source. It logs each such block once.
func (t *Tracker) blockedElsewhere(source netip.Prefix) bool {
	if t.Shared == nil {
		return false
	}
	left, first := t.Shared.Blocked(source)
	if first {
		t.logBlocked(source, left, Elsewhere)
	}
	return left > 0
}

func (t *Tracker) logBlocked(source netip.Prefix, block time.Duration, reason Reason) {
	t.Logger.Warn("source blocked", "addr", source.String(), "duration", block.Round(time.Millisecond/10), "reason", reason.String())
}

// Blocked returns how many sources are blocked.
func (t *Tracker) Blocked() int { return t.v4.Blocked(t.now()) + t.v6.Blocked(t.now()) }

func (t *Tracker) now() time.Duration { return t.Now().Sub(t.start) }

// logEnded logs the blocks that have refused connections, or were removed from a full table.
func (t *Tracker) logEnded(ended []Ended) {
	for _, block := range ended {
		facts := []any{"addr", block.Source.String(), "refused", block.Refused}
		switch {
		case block.Early:
			t.Logger.Warn("source unblocked", append(facts, "err", "no room for another blocked source")...)
		case block.Refused > 0:
			t.Logger.Info("source unblocked", facts...)
		}
	}
}

// penalty returns the penalty for a reason, which is zero or negative if there is none.
func (t *Tracker) penalty(reason Reason) time.Duration {
	return [...]time.Duration{t.NoAuth, t.AuthFail, t.InvalidUser, t.GraceExceeded}[reason]
}
