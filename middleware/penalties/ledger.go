package penalties

import (
	"net"
	"time"

	"foyer/middleware/source"
)

// Ledger decides which connections are refused and what the others cost their sources. It tells its log of each block
// when it begins, and when it is over of how many connections were refused; of connections it does not tell.
type Ledger struct {
	Config
	v4, v6 *Table
	start  time.Time // times are what has passed since: a wall clock that is set forgives nobody
}

// NewLedger returns a ledger in which nobody owes anything.
func NewLedger(cfg Config) (*Ledger, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	return &Ledger{
		Config: cfg,
		v4:     NewTable(cfg.Min, cfg.Max, cfg.MaxSources4),
		v6:     NewTable(cfg.Min, cfg.Max, cfg.MaxSources6),
		start:  cfg.Now(),
	}, nil
}

// Admit reports whether a connection from peer is let in, and returns what the ledger will know of it: nil where it is
// refused, or pays nothing because it is exempt or does not come by IP.
func (l *Ledger) Admit(peer net.Addr) (c *Connection, admitted bool) {
	network, exempt := l.Networks.Of(source.Addr(peer))
	if exempt {
		return nil, true
	}
	c = &Connection{ledger: l, table: l.v6, source: network}
	if network.Addr().Is4() {
		c.table = l.v4
	}
	reason, refused, ended := c.table.Refuse(l.now(), c.source)
	l.tell(ended)
	if refused {
		l.Refused(reason, peer)
		return nil, false
	}
	return c, true
}

func (l *Ledger) now() time.Duration { return l.Now().Sub(l.start) }

// tell tells of blocks that made a difference while they lasted, or that the table had no room for.
func (l *Ledger) tell(ended []Ended) {
	for _, block := range ended {
		facts := []any{"addr", block.Source.String(), "refused", block.Refused}
		switch {
		case block.Early:
			l.Logger.Warn("source unblocked", append(facts, "err", "no room for another blocked source")...)
		case block.Refused > 0:
			l.Logger.Info("source unblocked", facts...)
		}
	}
}

// cost is what a connection costs for a reason, and not more than 0 if it costs nothing.
func (l *Ledger) cost(reason Reason) time.Duration {
	return [reasons]time.Duration{l.NoAuth, l.AuthFail, l.InvalidUser, l.GraceExceeded}[reason]
}
