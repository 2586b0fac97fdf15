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
	arrived       stage = iota
	keyed               // the server has the keys: most of its work is done
	authenticated       // somebody was let in
	gone
)

// source is what one source has.
type source struct {
	addr    netip.Addr
	exempt  bool
	total   int
	waiting [authenticated]list.List     // connections, oldest first, by the stage that they are at
	rank    [authenticated]*list.Element // the source's place in the table's queues
}

// first returns who makes room for another of the same source, or nil.
func (s *source) first() *Conn {
	return first(s.waiting[arrived].Len(), s.waiting[keyed].Len(), s.oldest)
}

func (s *source) oldest(at stage) *Conn {
	if e := s.waiting[at].Front(); e != nil {
		return e.Value.(*Conn)
	}
	return nil
}

func (s *source) unauthenticated() int { return s.waiting[arrived].Len() + s.waiting[keyed].Len() }

// queues hold the sources that have connections without authentication, by stage and by how many they have there.
type queues struct {
	n       int       // connections
	silent  list.List // those that have only arrived, in the order in which they were last heard of
	byCount [authenticated][]*list.List
}

// soon is how long an honest client may take for its version line, and from then for its key exchange, and from then for
// its authentication if no person has to type for it. These take it milliseconds and some round trips, and a server that
// is short of processors a second.
const soon = 2 * time.Second

// first returns who makes room for whoever comes, or nil: who has been silent for longest, and where nobody has been for
// long, the oldest of the source that has most; of those that have as many, the one that has had them longest.
func (q *queues) first() *Conn {
	if e := q.silent.Front(); e != nil && e.Value.(*Conn).slow() {
		return e.Value.(*Conn)
	}
	return first(q.silent.Len(), q.n-q.silent.Len(), q.oldest)
}

func (q *queues) oldest(at stage) *Conn {
	lists := q.byCount[at]
	for i := len(lists) - 1; i > 0; i-- {
		if e := lists[i].Front(); e != nil {
			return e.Value.(*source).oldest(at)
		}
		q.byCount[at] = lists[:i] // so that nobody looks there again in vain
	}
	return nil
}

// first returns who makes room among so many newcomers and so many with keys. It is a newcomer, whom the server has done
// little for, unless there are more with keys, and the oldest of those has had them for long: then it is a crowd at the
// prompt, before which the newcomers would have no more than the last place to push one another out of.
func first(newcomers, withKeys int, oldest func(stage) *Conn) *Conn {
	if c := oldest(keyed); withKeys > newcomers && c.slow() {
		return c
	}
	return cmp.Or(oldest(arrived), oldest(keyed))
}

// push puts c at the end of the queue of its stage, and pull takes it out.
func (q *queues) push(c *Conn) {
	s := c.source
	c.since = time.Now()
	if c.stage == arrived {
		c.silent = q.silent.PushBack(c)
	}
	q.unrank(s, c.stage)
	c.place = s.waiting[c.stage].PushBack(c)
	q.rank(s, c.stage)
	q.n++
}

func (q *queues) pull(c *Conn) {
	s := c.source
	if c.stage == arrived {
		q.silent.Remove(c.silent)
	}
	q.unrank(s, c.stage)
	s.waiting[c.stage].Remove(c.place)
	q.rank(s, c.stage)
	q.n--
}

func (q *queues) unrank(s *source, at stage) {
	if s.rank[at] != nil {
		q.byCount[at][s.waiting[at].Len()].Remove(s.rank[at])
		s.rank[at] = nil
	}
}

func (q *queues) rank(s *source, at stage) {
	count := s.waiting[at].Len()
	if count == 0 {
		return
	}
	for len(q.byCount[at]) <= count {
		q.byCount[at] = append(q.byCount[at], list.New())
	}
	s.rank[at] = q.byCount[at][count].PushBack(s)
}
