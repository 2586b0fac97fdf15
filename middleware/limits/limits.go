// Package limits tracks the connections of a server and decides which one is evicted when there are too many.
//
// When there is no room for a new connection, an unauthenticated one is evicted, the one in which least was invested:
//
//   - the one that has waited longest for its key exchange, if that is more than two seconds;
//   - otherwise, if more have exchanged keys than not, the oldest one without an attempt to authenticate of the source that
//     has most of those, if it has waited for more than two seconds; and in the same way one with an attempt, if those are
//     more than the others;
//   - otherwise, of the connections before their key exchange, the oldest one of the source that has most of them;
//   - otherwise in the same way of those before their first attempt, and at last of the others.
//
// The source that has most is searched from the outside in: the /8 with most, in that the /16, the /24 and the address (the
// /32, /48 and source of IPv6). So a flood from ever new addresses of a few networks evicts its own connections. A network
// with a few, a 256th of the places, has no more than one with a single connection: an office is not the first to go.
//
// So silent connections make room for clients that log in. In a flood the server evicts the connections on which it has
// spent the least work. A person at the password prompt is evicted only by the second rule, which keeps many clients at the
// prompt from keeping new ones out, or if nobody else is left.
//
// If all connections are authenticated, a source that has none gets the place of the oldest connection of the source that
// has most, so that a few addresses cannot fill a server that lets everybody in. Otherwise the new one is refused.
//
// BenchmarkNewcomers (package middleware) compares this with sshd's random early drop (MaxStartups start:rate:full).
// Fifty clients log in at once while two thousand silent connections reconnect whenever they are evicted. With sshd's
// rule and its default no client logs in, and with a limit as high as here one in eleven does. With this rule all of
// them log in, within 0.2 seconds.
package limits

import (
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"container/list"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/fairqueue"
	"foyer/middleware/source"
)

// Config holds the limits. Every number must be positive.
type Config struct {
	// Max is the limit of connections at once, and MaxPerSource that of one source.
	Max, MaxPerSource int
	// MaxUnauthenticated is the limit of unauthenticated connections, and MaxUnauthenticatedPerSource that of one source.
	MaxUnauthenticated, MaxUnauthenticatedPerSource int
	// MaxSessions is the limit of sessions at once on a connection, as sshd's MaxSessions. MaxSessionsEver is the limit
	// of sessions in total on a connection. The limits layer enforces both.
	MaxSessions, MaxSessionsEver int
	// Networks says which addresses are one source. Its exempt networks have no limit per source. Exempt a proxy, for
	// example, behind which all visitors have one address.
	Networks source.Networks
	// Counters counts the limits that are reached. It may be nil.
	Counters *counters.Counters
}

// Table holds the connections of one server.
type Table struct {
	Config
	computing *fairqueue.Queue

	mu      sync.Mutex
	n       int    // connections
	extra   int    // sessions beyond the first one of each connection
	waiting queues // the unauthenticated ones, by stage
	sources map[netip.Prefix]*peers
}

// NewTable returns an empty table.
func NewTable(cfg Config) *Table {
	cpus := runtime.GOMAXPROCS(0)
	t := &Table{
		Config: cfg, sources: map[netip.Prefix]*peers{},
		computing: fairqueue.New(maxComputing*cpus, maxWaiting*cpus),
	}
	for at := range t.waiting {
		t.waiting[at].wide = map[netip.Prefix]*network{}
	}
	t.SetConfig(cfg)
	return t
}

// SetConfig changes the limits for new connections. Connections beyond a limit that is lower now stay until new ones evict
// them. The counters stay as they are.
func (t *Table) SetConfig(cfg Config) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Max, t.MaxPerSource = cfg.Max, cfg.MaxPerSource
	t.MaxUnauthenticated, t.MaxUnauthenticatedPerSource = cfg.MaxUnauthenticated, cfg.MaxUnauthenticatedPerSource
	t.MaxSessions, t.MaxSessionsEver, t.Networks = cfg.MaxSessions, cfg.MaxSessionsEver, cfg.Networks
	for at := range t.waiting {
		t.waiting[at].few = cfg.MaxUnauthenticated / 256
	}
}

// SessionLimits returns MaxSessions and MaxSessionsEver.
func (t *Table) SessionLimits() (atOnce, ever int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.MaxSessions, t.MaxSessionsEver
}

// Connection is one connection in a [Table].
type Connection struct {
	table *Table
	peers *peers
	peer  net.Addr
	from  netip.Prefix // its network, also if that is exempt
	evict func(overShare bool)

	// Guarded by the caller of Compute and Computed.
	began time.Time     // when the server began to compute, or zero
	spent time.Duration // how long it has computed

	// Guarded by the table.
	extra     int  // sessions beyond the first one
	overShare bool // evicted because its own source is over its limit
	stage     stage
	since     time.Time     // when it reached that stage, or when the client's first bytes arrived
	inAge     *list.Element // in the table's list of that stage by age, until it is authenticated
	inPeer    *list.Element // in the source's list of that stage
}

// Admit adds a connection. It returns the connections that it evicts for that, and the limit that was reached, or "". The
// connection is nil if there is no room for it. The caller must call Evict on each evicted connection: that calls the evict
// function that was given for it, with overShare if its own source was over its limit.
func (t *Table) Admit(peer net.Addr, evict func(overShare bool)) (c *Connection, evicted []*Connection, reached counters.Reason) {
	c, evicted, reached = t.admit(peer, evict)
	if reached != "" {
		t.Counters.Count(reached, peer)
	}
	return c, evicted, reached
}

func (t *Table) admit(peer net.Addr, evict func(overShare bool)) (c *Connection, evicted []*Connection, reached counters.Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	network, exempt := t.Networks.Of(source.Addr(peer))
	from := t.peersOf(network, exempt)
	for _, limit := range t.limits(from) {
		if limit.has-len(evicted) < limit.max { // a connection that is evicted for one limit counts for all
			continue
		}
		reached = limit.reason
		victim := evictable(limit.from)
		if victim == nil && reached == counters.Connections {
			victim = t.authenticatedFor(from)
		}
		if victim == nil {
			return nil, evicted, reached
		}
		victim.remove()
		victim.overShare = limit.from == unauthenticated(from)
		evicted = append(evicted, victim)
	}
	c = &Connection{table: t, peers: from, peer: peer, from: network, evict: evict}
	t.n++
	from.total++
	t.sources[from.source] = from
	t.waiting[connected].add(c)
	return c, evicted, reached
}

// authenticatedFor returns the authenticated connection to evict for a source that has none, or nil. A health check, or a
// proxy whose header has not arrived, takes the place of no visitor.
func (t *Table) authenticatedFor(from *peers) *Connection {
	if from.exempt || from.total > 0 {
		return nil
	}
	most := &peers{}
	for _, p := range t.sources {
		if !p.exempt && p.inside.Len() > max(1, most.inside.Len()) {
			most = p
		}
	}
	if most.inside.Len() == 0 {
		return nil
	}
	return most.inside.Front().Value.(*Connection)
}

// limit is a limit that a new connection may reach.
type limit struct {
	reason counters.Reason
	has    int
	max    int
	from   unauthenticated
}

// limits returns the limits that apply, those of the source first: a source over its limit loses one of its own
// connections.
func (t *Table) limits(from *peers) []limit {
	limits := []limit{
		{counters.Connections, t.n, t.Max, &t.waiting},
		{counters.Unauthenticated, t.waiting.len(), t.MaxUnauthenticated, &t.waiting},
	}
	if from.exempt {
		return limits
	}
	return slices.Insert(limits, 0,
		limit{counters.SourceConnections, from.total, t.MaxPerSource, from},
		limit{counters.SourceUnauthenticated, from.unauthenticated(), t.MaxUnauthenticatedPerSource, from})
}

// peersOf returns the connections of a network. All exempt peers are one source, and so are peers without an IP
// address.
func (t *Table) peersOf(network netip.Prefix, exempt bool) *peers {
	if exempt {
		network = netip.Prefix{}
	}
	if known := t.sources[network]; known != nil {
		return known
	}
	return &peers{source: network, exempt: exempt}
}

// Len returns how many connections there are, and from how many sources.
func (t *Table) Len() (connections, sources int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n, len(t.sources)
}

// Evict calls the function that was given to Admit.
func (c *Connection) Evict() { c.evict(c.overShare) }

// Spoke records that the client's first bytes have arrived.
func (c *Connection) Spoke() {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	if c.stage == connected {
		c.since = time.Now()
		c.table.waiting[connected].byAge.MoveToBack(c.inAge)
	}
}

// KeysExchanged records that the server has done its part of the key exchange.
func (c *Connection) KeysExchanged() { c.reach(keysExchanged) }

// Asked records that the client has tried to authenticate.
func (c *Connection) Asked() { c.reach(asked) }

// Authenticated records that the client is authenticated. What the server has computed for it no longer counts.
func (c *Connection) Authenticated() {
	c.reach(authenticated)
	c.table.computing.Charge(c.from, -int64(c.spent))
}

// Sessions records how many sessions the connection has, and reports whether it may have them: it may have one, and more as
// long as all connections together have Max at most beyond their first one.
func (c *Connection) Sessions(n int) bool {
	t := c.table
	t.mu.Lock()
	defer t.mu.Unlock()
	extra := max(0, n-1)
	if c.stage == closed {
		extra = 0
	}
	t.extra += extra - c.extra
	c.extra = extra
	return extra == 0 || t.extra <= t.Max
}

// Closed removes the connection from the table. A second call does nothing.
func (c *Connection) Closed() {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	c.remove()
}

func (c *Connection) reach(stage stage) {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	c.move(stage)
}

// remove removes c from the table. Its file descriptor is closed slightly later.
func (c *Connection) remove() {
	if c.stage == closed {
		return
	}
	c.move(closed)
	c.table.n--
	c.table.extra -= c.extra
	c.extra = 0
	if c.peers.total--; c.peers.total == 0 {
		delete(c.table.sources, c.peers.source)
	}
}

// move moves c to a later stage.
func (c *Connection) move(to stage) {
	if c.stage >= to {
		return
	}
	if c.stage < authenticated {
		c.table.waiting[c.stage].remove(c)
	} else {
		c.peers.inside.Remove(c.inPeer)
	}
	switch c.stage = to; {
	case to < authenticated:
		c.table.waiting[to].add(c)
	case to == authenticated:
		c.inPeer = c.peers.inside.PushBack(c)
	}
}

// slow reports whether the client takes longer than an honest program does.
func (c *Connection) slow() bool { return time.Since(c.since) > slowAfter }
