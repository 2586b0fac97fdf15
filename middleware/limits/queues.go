package limits

import (
	"cmp"
	"container/list"
	"net/netip"
	"time"
)

// stage is how far a connection has come.
type stage int

const (
	connected     stage = iota
	keysExchanged       // most of the server's work is done
	asked               // it has tried to authenticate: most often a person is at the password prompt
	authenticated
	closed
)

// slowAfter is how long an honest client takes at most for each of four steps: its version line, its key exchange, its first
// attempt to authenticate, and the next ones unless a person types a password. They take milliseconds and a few round trips,
// or a second on an overloaded server.
const slowAfter = 2 * time.Second

// unauthenticated holds connections by stage. It is the table's or one source's.
type unauthenticated interface {
	// count returns how many there are at a stage.
	count(stage) int
	// oldest returns the one that has been at a stage for longest, or nil.
	oldest(stage) *Connection
	// largest returns the oldest one of the source that has most, or nil.
	largest(stage) *Connection
}

// evictable returns the connection to evict, or nil; see the package's comment.
func evictable(of unauthenticated) *Connection {
	if c := of.oldest(connected); c != nil && c.slow() {
		return c
	}
	if before := of.count(connected); of.count(keysExchanged)+of.count(asked) > before {
		if c := of.largest(keysExchanged); c != nil && c.slow() {
			return c
		}
		if c := of.largest(asked); c != nil && c.slow() && of.count(asked) > before+of.count(keysExchanged) {
			return c
		}
	}
	return cmp.Or(of.largest(connected), of.largest(keysExchanged), of.largest(asked))
}

// peers are the connections of one source.
type peers struct {
	source  netip.Prefix
	exempt  bool
	total   int
	inside  list.List               // authenticated connections, oldest first
	waiting [authenticated]*network // the others by stage; nil for none
}

func (p *peers) count(at stage) int {
	if p.waiting[at] == nil {
		return 0
	}
	return p.waiting[at].n
}

func (p *peers) oldest(at stage) *Connection {
	if p.waiting[at] == nil {
		return nil
	}
	return p.waiting[at].connections.Front().Value.(*Connection)
}

func (p *peers) largest(at stage) *Connection { return p.oldest(at) }

func (p *peers) unauthenticated() int {
	return p.count(connected) + p.count(keysExchanged) + p.count(asked)
}

// queues holds the unauthenticated connections of the table.
type queues [authenticated]queue

func (q *queues) count(at stage) int { return q[at].byAge.Len() }

func (q *queues) oldest(at stage) *Connection {
	if e := q[at].byAge.Front(); e != nil {
		return e.Value.(*Connection)
	}
	return nil
}

func (q *queues) largest(at stage) *Connection { return q[at].largest() }

func (q *queues) len() int { return q.count(connected) + q.count(keysExchanged) + q.count(asked) }

// queue holds the unauthenticated connections of one stage.
type queue struct {
	few   int       // a network with up to so many has no more than any other
	byAge list.List // by since, oldest first
	all   network
	wide  map[netip.Prefix]*network // the wider networks that the sources belong to
}

// network is a source, or a wider network, with its connections at one stage.
type network struct {
	within      *network // nil for all
	prefix      netip.Prefix
	n           int
	place       *list.Element // in the part of within for this size
	parts       []*list.List  // the networks within, by their size
	connections list.List     // of a source, oldest first
}

// widths are the bits of the wider networks, for IPv4 and IPv6: what a regional registry, a provider and a customer have.
var widths = map[bool][]int{true: {8, 16, 24}, false: {32, 48}}

// networkOf returns a source as a part of the wider networks to which it belongs.
func (q *queue) networkOf(source netip.Prefix) *network {
	within := &q.all
	for _, bits := range widths[source.Addr().Is4()] {
		if bits >= source.Bits() {
			break
		}
		prefix, _ := source.Addr().Prefix(bits)
		if q.wide[prefix] == nil {
			q.wide[prefix] = &network{within: within, prefix: prefix}
		}
		within = q.wide[prefix]
	}
	return &network{within: within, prefix: source}
}

func (q *queue) add(c *Connection) {
	if c.peers.waiting[c.stage] == nil {
		c.peers.waiting[c.stage] = q.networkOf(c.peers.source)
	}
	source := c.peers.waiting[c.stage]
	c.since = time.Now()
	c.inAge = q.byAge.PushBack(c)
	c.inPeer = source.connections.PushBack(c)
	q.change(source, 1)
}

func (q *queue) remove(c *Connection) {
	source := c.peers.waiting[c.stage]
	q.byAge.Remove(c.inAge)
	source.connections.Remove(c.inPeer)
	q.change(source, -1)
	if source.n == 0 {
		c.peers.waiting[c.stage] = nil
	}
}

// change changes the number of connections of a source, and of the networks to which it belongs.
func (q *queue) change(source *network, by int) {
	for n := source; n.within != nil; n = n.within {
		before := q.size(n)
		n.n += by
		size := q.size(n)
		if size == before {
			continue
		}
		if before > 0 {
			n.within.parts[before].Remove(n.place)
		}
		if size == 0 {
			delete(q.wide, n.prefix)
			continue
		}
		for len(n.within.parts) <= size {
			n.within.parts = append(n.within.parts, list.New())
		}
		n.place = n.within.parts[size].PushBack(n)
	}
}

// size returns how many connections a network counts as: an office with a few has no more than a single person.
func (q *queue) size(n *network) int {
	if n.n == 0 {
		return 0
	}
	return max(n.n, q.few)
}

// largest returns the oldest connection of the source that has most, in the network that has most, in the wider network that
// has most. Of several it chooses the one that has reached that size first.
func (q *queue) largest() *Connection {
	n := &q.all
	for last := len(n.parts) - 1; last > 0; last = len(n.parts) - 1 {
		if e := n.parts[last].Front(); e != nil {
			n = e.Value.(*network)
		} else {
			n.parts = n.parts[:last] // do not search the empty list again
		}
	}
	if e := n.connections.Front(); e != nil {
		return e.Value.(*Connection)
	}
	return nil
}
