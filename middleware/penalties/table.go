package penalties

import (
	"container/heap"
	"net/netip"
	"sync"
	"time"
)

// Table keeps the penalties of the sources of one address family. Times are what has passed since any moment that the
// caller likes, on a clock that does not jump.
//
// A source that owes more than the minimum is blocked, until it owes nothing. When the table is full and one more
// source comes, the one goes that is soonest done, as with sshd's overflow:permissive, but none that is blocked while
// there are others. A port scan that owes a second is itself the first to go. So that a block goes, every other place
// must hold one that lasts longer. With 65536 places and 5 seconds for a failed login that takes 262,140 of those in
// 5 seconds, or, because debts run out meanwhile, 6,500 a second for as long as there is time: more than a core can
// refuse. Who has that many sources has no need to free one, and with overflow:deny-all they would shut everybody out.
//
// A source takes 150 bytes, and 240 once very many have come and gone: most of it is the map's. A call is O(log n).
type Table struct {
	minimum, maximum time.Duration
	limit            int

	mu      sync.Mutex
	sources map[netip.Addr]*entry
	waiting byExpiry // owe something and are not blocked
	blocked byExpiry
}

// NewTable returns an empty table with places for limit sources. It blocks those that owe more than minimum, and none
// owes more than maximum.
func NewTable(minimum, maximum time.Duration, limit int) *Table {
	return &Table{minimum: minimum, maximum: maximum, limit: limit, sources: map[netip.Addr]*entry{}}
}

// Ended is a block that is over.
type Ended struct {
	Source  netip.Prefix
	Refused int  // how many connections were refused while it lasted
	Early   bool // whether it had to make room in a full table
}

// Refuse reports whether a connection from source is refused now, and why, and counts it if so. Each block that is over
// is in ended once, here or from Add.
func (t *Table) Refuse(now time.Duration, source netip.Prefix) (reason Reason, refused bool, ended []Ended) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ended := t.find(now, source)
	if e == nil || !e.blocked {
		return 0, false, ended
	}
	e.refused++
	return e.reason, true, ended
}

// Add adds a penalty to what source owes. It returns how long the source is blocked if that begins now, and 0 where
// it is not blocked or has been before.
func (t *Table) Add(now time.Duration, source netip.Prefix, penalty time.Duration, reason Reason) (
	block time.Duration, ended []Ended,
) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ended := t.find(now, source)
	if e == nil {
		e = &entry{source: source, expiry: now}
		t.sources[source.Addr()] = e
		heap.Push(&t.waiting, e)
	}
	owed := min(e.expiry-now+penalty, t.maximum)
	e.expiry, e.reason = now+owed, reason
	if owed > t.minimum && !e.blocked {
		block = owed
		heap.Remove(&t.waiting, e.index)
		e.blocked = true
		heap.Push(&t.blocked, e)
	} else {
		heap.Fix(t.heap(e), e.index)
	}
	if len(t.sources) <= t.limit {
		return block, ended
	}
	out := t.soonest()
	t.remove(out)
	switch {
	case out == e:
		block = 0
	case out.blocked:
		ended = append(ended, Ended{out.source, out.refused, true})
	}
	return block, ended
}

// Len returns how many sources owe something, or did not long ago.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sources)
}

// find returns what is kept of source, and forgets it first if it owes nothing any more. So it does with the one that
// is soonest done of each kind: a call brings at most one source, so the table gets rid of them faster than they
// come, and no call has to do it for all.
func (t *Table) find(now time.Duration, source netip.Prefix) (found *entry, ended []Ended) {
	found = t.sources[source.Addr()]
	for _, e := range []*entry{found, t.waiting.first(), t.blocked.first()} {
		if e == nil || e.expiry > now || t.sources[e.source.Addr()] != e {
			continue
		}
		t.remove(e)
		if e.blocked {
			ended = append(ended, Ended{e.source, e.refused, false})
		}
		if e == found {
			found = nil
		}
	}
	return found, ended
}

func (t *Table) remove(e *entry) {
	heap.Remove(t.heap(e), e.index)
	delete(t.sources, e.source.Addr())
}

// soonest returns who makes room.
func (t *Table) soonest() *entry {
	if e := t.waiting.first(); e != nil {
		return e
	}
	return t.blocked.first()
}

func (t *Table) heap(e *entry) *byExpiry {
	if e.blocked {
		return &t.blocked
	}
	return &t.waiting
}
