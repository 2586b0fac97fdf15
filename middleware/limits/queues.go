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

// slowAfter is how long an honest client may take for its version line, from there for its key exchange, and from there for
// its authentication unless a person types for it. These take milliseconds and a few round trips, and a second where the
// server is short of CPU.
const slowAfter = 2 * time.Second

// peers are the connections of one source.
type peers struct {
	network netip.Prefix
	exempt  bool
	total   int
	waiting [authenticated]list.List     // connections by stage, oldest first
	rank    [authenticated]*list.Element // the source's place in the queues
}

// first returns which connection makes room for another of the same source, or nil.
func (p *peers) first() *Connection {
	return first(p.waiting[connected].Len(), p.waiting[keysExchanged].Len(), p.oldest)
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

// queues hold the sources that have unauthenticated connections, by stage and by how many they have there.
type queues struct {
	n       int       // connections
	silent  list.List // those waiting for their key exchange, in the order in which their clients last said something
	byCount [authenticated][]*list.List
}

// first returns which connection makes room for a new one, or nil: the longest silent one if it is slow, else the oldest
// of the source that has most. Of several sources with as many it is the one that has had them longest.
func (q *queues) first() *Connection {
	if e := q.silent.Front(); e != nil && e.Value.(*Connection).slow() {
		return e.Value.(*Connection)
	}
	return first(q.silent.Len(), q.n-q.silent.Len(), q.oldest)
}

func (q *queues) oldest(at stage) *Connection {
	lists := q.byCount[at]
	for i := len(lists) - 1; i > 0; i-- {
		if e := lists[i].Front(); e != nil {
			return e.Value.(*peers).oldest(at)
		}
		q.byCount[at] = lists[:i] // so that nobody looks there again in vain
	}
	return nil
}

// first returns which connection makes room, given how many wait for their key exchange and how many have exchanged keys.
// It is one that waits for its key exchange, for which the server has done little, unless more have exchanged keys and
// the oldest of those is slow. Otherwise a crowd at the prompt would leave one place for all newcomers to evict one
// another from.
func first(withoutKeys, withKeys int, oldest func(stage) *Connection) *Connection {
	if c := oldest(keysExchanged); withKeys > withoutKeys && c.slow() {
		return c
	}
	return cmp.Or(oldest(connected), oldest(keysExchanged))
}

// push puts c at the end of the queue of its stage, and pull takes it out.
func (q *queues) push(c *Connection) {
	c.since = time.Now()
	if c.stage == connected {
		c.silent = q.silent.PushBack(c)
	}
	q.unrank(c.peers, c.stage)
	c.place = c.peers.waiting[c.stage].PushBack(c)
	q.rank(c.peers, c.stage)
	q.n++
}

func (q *queues) pull(c *Connection) {
	if c.stage == connected {
		q.silent.Remove(c.silent)
	}
	q.unrank(c.peers, c.stage)
	c.peers.waiting[c.stage].Remove(c.place)
	q.rank(c.peers, c.stage)
	q.n--
}

func (q *queues) unrank(p *peers, at stage) {
	if p.rank[at] != nil {
		q.byCount[at][p.waiting[at].Len()].Remove(p.rank[at])
		p.rank[at] = nil
	}
}

func (q *queues) rank(p *peers, at stage) {
	count := p.waiting[at].Len()
	if count == 0 {
		return
	}
	for len(q.byCount[at]) <= count {
		q.byCount[at] = append(q.byCount[at], list.New())
	}
	p.rank[at] = q.byCount[at][count].PushBack(p)
}
