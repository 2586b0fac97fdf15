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
	authenticated
	closed
)

// slowAfter is how long an honest client takes at most for each of three steps: its version line, its key exchange, and
// its authentication unless a person types a password. They take milliseconds and a few round trips, or a second on an
// overloaded server.
const slowAfter = 2 * time.Second

// peers are the connections of one source.
type peers struct {
	network netip.Prefix
	exempt  bool
	total   int
	inside  list.List                    // authenticated connections, oldest first
	waiting [authenticated]list.List     // the others by stage, oldest first
	inCount [authenticated]*list.Element // in the queues' lists by count
}

// evictable returns the connection to evict for another one of the same source, or nil.
func (p *peers) evictable() *Connection {
	return evictable(p.waiting[connected].Len(), p.waiting[keysExchanged].Len(), p.oldest)
}

func (p *peers) oldest(at stage) *Connection {
	if e := p.waiting[at].Front(); e != nil {
		return e.Value.(*Connection)
	}
	return nil
}

func (p *peers) unauthenticated() int {
	return p.waiting[connected].Len() + p.waiting[keysExchanged].Len()
}

// queues holds the unauthenticated connections.
type queues struct {
	n       int                         // connections
	byAge   list.List                   // those before their key exchange, by since, oldest first
	byCount [authenticated][]*list.List // sources, by stage and by how many connections they have at that stage
}

// evictable returns the connection to evict for a new one, or nil: the oldest one before its key exchange if it is slow,
// otherwise the oldest one of the source that has most. Of several such sources it chooses the one that has reached that
// number first.
func (q *queues) evictable() *Connection {
	if e := q.byAge.Front(); e != nil && e.Value.(*Connection).slow() {
		return e.Value.(*Connection)
	}
	return evictable(q.byAge.Len(), q.n-q.byAge.Len(), q.oldest)
}

func (q *queues) oldest(at stage) *Connection {
	lists := q.byCount[at]
	for i := len(lists) - 1; i > 0; i-- {
		if e := lists[i].Front(); e != nil {
			return e.Value.(*peers).oldest(at)
		}
		q.byCount[at] = lists[:i] // do not search the empty list again
	}
	return nil
}

// evictable returns the connection to evict, given how many are before their key exchange and how many are after it. It
// chooses one before its key exchange, on which the server has spent little work, unless more are after it and the
// oldest of those is slow. Without that exception, many clients at the prompt would leave one place, from which new
// clients would evict each other.
func evictable(withoutKeys, withKeys int, oldest func(stage) *Connection) *Connection {
	if c := oldest(keysExchanged); withKeys > withoutKeys && c.slow() {
		return c
	}
	return cmp.Or(oldest(connected), oldest(keysExchanged))
}

func (q *queues) add(c *Connection) {
	c.since = time.Now()
	if c.stage == connected {
		c.inAge = q.byAge.PushBack(c)
	}
	q.removeSource(c.peers, c.stage)
	c.inPeer = c.peers.waiting[c.stage].PushBack(c)
	q.addSource(c.peers, c.stage)
	q.n++
}

func (q *queues) remove(c *Connection) {
	if c.stage == connected {
		q.byAge.Remove(c.inAge)
	}
	q.removeSource(c.peers, c.stage)
	c.peers.waiting[c.stage].Remove(c.inPeer)
	q.addSource(c.peers, c.stage)
	q.n--
}

func (q *queues) removeSource(p *peers, at stage) {
	if p.inCount[at] != nil {
		q.byCount[at][p.waiting[at].Len()].Remove(p.inCount[at])
		p.inCount[at] = nil
	}
}

func (q *queues) addSource(p *peers, at stage) {
	count := p.waiting[at].Len()
	if count == 0 {
		return
	}
	for len(q.byCount[at]) <= count {
		q.byCount[at] = append(q.byCount[at], list.New())
	}
	p.inCount[at] = q.byCount[at][count].PushBack(p)
}
