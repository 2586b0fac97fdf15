// Package limits holds the connections of a server and decides which of them makes room when there are too many.
//
// When there is no room for a new connection, one that is not authenticated is evicted:
//
//   - the one that has waited longest for its key exchange, if that is more than two seconds;
//   - else the oldest of the source that has most of those waiting for their key exchange;
//   - else the oldest of the source that has most of those waiting for authentication.
//
// So silent connections make room for clients that log in, and no number of them evicts a person at the password prompt;
// under a flood the server drops those for whom it has done the least work. Where more wait for authentication than for
// their key exchange, and the oldest has waited for more than two seconds, that one goes first, so that a crowd at the
// prompt keeps nobody out. If all connections are authenticated, the new one is refused.
//
// sshd's random early drop (MaxStartups start:rate:full) was measured against this (BenchmarkNewcomers, package
// middleware). Fifty clients log in at once among two thousand silent connections, each of which comes back when it is
// dropped: with sshd's rule none gets in, or one in eleven with as many places as here; with this rule all do, within 0.2
// seconds.
package limits

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"container/list"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/source"
)

// Config is how many there may be. Every number must be at least 1.
type Config struct {
	// Max is how many connections there may be at once, and MaxPerSource how many from one source.
	Max, MaxPerSource int
	// MaxUnauthenticated is how many of them may be unauthenticated, and MaxUnauthenticatedPerSource how many from one
	// source.
	MaxUnauthenticated, MaxUnauthenticatedPerSource int
	// MaxSessions is how many sessions a connection may have at once, as sshd's MaxSessions. MaxSessionsEver is how many it
	// may have in all. The limits layer applies both.
	MaxSessions, MaxSessionsEver int
	// Networks says which addresses are one source. Its exempt networks have no limit per source: those of a proxy, say,
	// behind which all visitors have one address.
	Networks source.Networks
	// Counters counts the limits that are reached. It may be nil.
	Counters *counters.Counters
}

// Table holds the connections of one server.
type Table struct {
	Config

	mu      sync.Mutex
	n       int // connections
	waiting queues
	sources map[netip.Prefix]*peers
}

// NewTable returns a table without connections.
func NewTable(cfg Config) *Table { return &Table{Config: cfg, sources: map[netip.Prefix]*peers{}} }

// Connection is one connection in a [Table]. It tells the table how far it has come.
type Connection struct {
	table *Table
	peers *peers
	evict func()

	// Guarded by the table.
	stage  stage
	since  time.Time     // when it came to that stage, or the client's first bytes arrived
	silent *list.Element // its place among those waiting for their key exchange
	place  *list.Element // its place among its source's, while it is not authenticated
}

// Admit takes a connection in. It returns the connections that it evicts for that, whose Evict the caller calls, and the
// limit that was reached, if one was. Where there is no room it returns no connection. The table calls nothing itself.
func (t *Table) Admit(peer net.Addr, evict func()) (c *Connection, evicted []*Connection, reached counters.Reason) {
	c, evicted, reached = t.admit(peer, evict)
	if reached != "" {
		t.Counters.Count(reached, peer)
	}
	return c, evicted, reached
}

func (t *Table) admit(peer net.Addr, evict func()) (c *Connection, evicted []*Connection, reached counters.Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := t.peersOf(peer)
	for _, limit := range t.limits(from) {
		if limit.has-len(evicted) < limit.max { // whoever makes room for its source makes room for all
			continue
		}
		reached = limit.reason
		first := limit.from.first()
		if first == nil {
			return nil, evicted, reached
		}
		first.leave()
		evicted = append(evicted, first)
	}
	c = &Connection{table: t, peers: from, evict: evict}
	t.n++
	from.total++
	t.sources[from.network] = from
	t.waiting.push(c)
	return c, evicted, reached
}

// limit is one that a new connection may reach.
type limit struct {
	reason counters.Reason
	has    int
	max    int
	from   interface{ first() *Connection } // who makes room
}

// limits lists those of the source first: a source over its share makes room itself.
func (t *Table) limits(from *peers) []limit {
	limits := []limit{
		{counters.Connections, t.n, t.Max, &t.waiting},
		{counters.Unauthenticated, t.waiting.n, t.MaxUnauthenticated, &t.waiting},
	}
	if from.exempt {
		return limits
	}
	return slices.Insert(limits, 0,
		limit{counters.SourceConnections, from.total, t.MaxPerSource, from},
		limit{counters.SourceUnauthenticated, from.unauthenticated(), t.MaxUnauthenticatedPerSource, from})
}

// peersOf returns what there is of a peer's source. All exempt peers, and those without an address, are one source.
func (t *Table) peersOf(peer net.Addr) *peers {
	network, exempt := t.Networks.Of(source.Addr(peer))
	if exempt {
		network = netip.Prefix{}
	}
	if known := t.sources[network]; known != nil {
		return known
	}
	return &peers{network: network, exempt: exempt}
}

// Len returns how many connections there are, and from how many sources.
func (t *Table) Len() (connections, sources int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n, len(t.sources)
}

// Evict calls what Admit was given for an evicted connection.
func (c *Connection) Evict() { c.evict() }

// Spoke notes that the client's first bytes have arrived.
func (c *Connection) Spoke() {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	if c.stage == connected {
		c.since = time.Now()
		c.table.waiting.silent.MoveToBack(c.silent)
	}
}

// KeysExchanged notes that the server has done its part of the key exchange.
func (c *Connection) KeysExchanged() { c.reach(keysExchanged) }

// Authenticated notes that somebody is authenticated.
func (c *Connection) Authenticated() { c.reach(authenticated) }

// Closed notes that the connection is over. A second call does nothing.
func (c *Connection) Closed() {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	c.leave()
}

func (c *Connection) reach(stage stage) {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	c.move(stage)
}

// leave takes c out of the table. Its descriptor is free a moment later.
func (c *Connection) leave() {
	if c.stage == closed {
		return
	}
	c.move(closed)
	c.table.n--
	if c.peers.total--; c.peers.total == 0 {
		delete(c.table.sources, c.peers.network)
	}
}

// move takes c to a later stage.
func (c *Connection) move(to stage) {
	if c.stage >= to {
		return
	}
	if c.stage < authenticated {
		c.table.waiting.pull(c)
	}
	c.stage = to
	if c.stage < authenticated {
		c.table.waiting.push(c)
	}
}

// slow reports whether the client has taken longer than an honest program does.
func (c *Connection) slow() bool { return time.Since(c.since) > slowAfter }
