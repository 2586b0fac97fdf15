// Package connections knows who is connected to a server and how far each has come, and decides who has to go when there
// are too many.
//
// Where there is no room for one more, the connection goes that has waited longest for its own key exchange, if that is
// more than two seconds. Else it is the oldest of the source that has most of those that wait for the server's keys, and
// where there are none, of those that have them and wait for authentication. Whoever sits there in silence makes room for
// whoever comes to log in; a person at the password prompt is not pushed out by silence, however much of it there is;
// and where more come at once than the server can serve, those go for whom it has done next to nothing. Where more sit at
// the prompt than do not, and the oldest has for more than two seconds, that one goes first, so that a crowd there keeps
// nobody out. Only where everybody is authenticated is the newcomer refused.
//
// sshd's random early drop (MaxStartups start:rate:full) was measured against it (BenchmarkNewcomers, package middleware).
// Of fifty visitors who log in at once, among two thousand silent connections that come again when they are dropped, it
// lets in none, and one in eleven where it has as many places as this; here it is all of them, within 0.2 seconds.
package limits

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/penalties"
)

// Config is how many there may be. Every number has to be at least 1.
type Config struct {
	// Max is how many connections there may be at once, and MaxPerSource how many of one source.
	Max, MaxPerSource int
	// MaxUnauthenticated is how many of them may be without authentication, and MaxUnauthenticatedPerSource how many of
	// one source.
	MaxUnauthenticated, MaxUnauthenticatedPerSource int
	// MaxSessions is how many sessions a connection may have at once: sshd's MaxSessions. A session counts until its
	// client has confirmed that it is closed. MaxSessionsEver is how many it may have in all.
	MaxSessions, MaxSessionsEver int
	// Farewells tell those who are refused, or have to go. Nil: all of them in a hurry.
	Farewells *Farewells
	// Prefix4 and Prefix6 are how many bits of an address make a source.
	Prefix4, Prefix6 int
	// Exempt are the networks that are no sources: a proxy, behind which all visitors have one address.
	Exempt []netip.Prefix
	// Counters counts those who had to go, if it is not nil.
	Counters *counters.Counters
}

// Table holds the connections of one server.
type Table struct {
	Config

	mu       sync.Mutex
	all      map[*Conn]bool
	waiting  queues
	sources  map[netip.Addr]*source
	draining chan struct{} // not nil once nobody is let in any more; closed when nobody is left
}

// NewTable returns a table without connections.
func NewTable(cfg Config) *Table {
	cfg.Farewells = cmp.Or(cfg.Farewells, NewFarewells(0))
	return &Table{Config: cfg, all: map[*Conn]bool{}, sources: map[netip.Addr]*source{}}
}

// Admit takes a connection in. It returns those who have to go for it, whom the caller closes, and the limit that was
// reached. Where there is no room it returns no connection, and no limit either where the table is draining.
func (t *Table) Admit(conn net.Conn) (c *Conn, out []*Conn, reached counters.Reason) {
	c, out, reached = t.admit(conn)
	if reached != "" {
		t.Counters.Count(reached, conn.RemoteAddr())
	}
	return c, out, reached
}

// admit is [Table.Admit], for one at a time.
func (t *Table) admit(conn net.Conn) (c *Conn, out []*Conn, reached counters.Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining != nil {
		return nil, nil, ""
	}
	s := t.source(conn.RemoteAddr())
	for _, limit := range t.limits(s) {
		if limit.has-len(out) < limit.max { // who has made room for one's source has made it for all
			continue
		}
		reached = limit.reason
		oldest := limit.from.first()
		if oldest == nil {
			return nil, out, reached
		}
		oldest.leave()
		out = append(out, oldest)
	}
	c = &Conn{wire: newWire(conn), table: t, source: s}
	c.onKeys = func() { c.moveTo(keyed) }
	c.enter()
	return c, out, reached
}

// limit is one that a newcomer may reach.
type limit struct {
	reason counters.Reason
	has    int
	max    int
	from   interface{ first() *Conn } // who makes room
}

// limits are the source's first: one that is over its share makes room itself.
func (t *Table) limits(s *source) []limit {
	limits := []limit{
		{counters.Connections, len(t.all), t.Max, &t.waiting},
		{counters.Unauthenticated, t.waiting.n, t.MaxUnauthenticated, &t.waiting},
	}
	if s.exempt {
		return limits
	}
	return slices.Insert(limits, 0,
		limit{counters.SourceConnections, s.total, t.MaxPerSource, s},
		limit{counters.SourceUnauthenticated, s.unauthenticated(), t.MaxUnauthenticatedPerSource, s})
}

// source returns the source of a peer. All that are exempt, or have no address, are one.
func (t *Table) source(peer net.Addr) *source {
	addr := penalties.Addr(peer)
	covers := func(network netip.Prefix) bool { return network.Contains(addr) }
	exempt := !addr.IsValid() || slices.ContainsFunc(t.Exempt, covers)
	if exempt {
		addr = netip.Addr{}
	} else {
		addr = penalties.Prefix(addr, t.Prefix4, t.Prefix6).Addr()
	}
	if s := t.sources[addr]; s != nil {
		return s
	}
	return &source{addr: addr, exempt: exempt}
}

// Drain lets nobody in any more, and closes the connections that have no session: at once those that have none now, and
// the others when their last one is over. It returns those that wait for authentication, whom the caller closes.
func (t *Table) Drain() (waiting []*Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refuse()
	for c := range t.all {
		switch {
		case c.stage < authenticated:
			waiting = append(waiting, c)
		case c.sessions == 0:
			_ = c.Close()
		}
	}
	return waiting
}

// Close closes every connection.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refuse()
	for c := range t.all {
		_ = c.Close()
	}
}

// Wait returns when a table that lets nobody in any more is empty, each connection having noted that it is over, or when
// ctx is done, with its error. Those that had to go to make room for others are not waited for.
func (t *Table) Wait(ctx context.Context) error {
	t.mu.Lock()
	drained := t.draining
	t.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refuse lets nobody in any more.
func (t *Table) refuse() {
	if t.draining == nil {
		t.draining = make(chan struct{})
		t.free()
	}
}

// free tells those who wait for the last connection to be over.
func (t *Table) free() {
	if t.draining != nil && len(t.all) == 0 {
		close(t.draining)
	}
}

// Len returns how many connections there are, and of how many sources.
func (t *Table) Len() (conns, sources int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all), len(t.sources)
}
