package penalties

import (
	"container/heap"
	"net/netip"
	"sync"
	"time"
)

// Table holds the penalties of the sources of one address family. Times are relative to any fixed point, on a monotonic
// clock.
//
// The penalty of a source decreases by one second per second. A source with more than the minimum is blocked until its
// penalty is zero. If a new source comes and the table is full, the source whose penalty ends first is removed, as with
// sshd's overflow:permissive, but a blocked source is removed only if all others are blocked too. To remove a block, an
// attacker must fill the table with blocks that last longer. With 65536 entries and 5s for a failed login that takes
// 262,140 failed logins in 5 seconds. A slower attack takes 6,500 a second, because penalties decrease meanwhile; that
// is more than a core can refuse. An attacker with so many sources does not need to unblock one, and with
// overflow:deny-all it could lock everybody out.
//
// A source takes 150 bytes, or 240 in a table that was much larger before; most of that is the map. A call is O(log n).
type Table struct {
	minimum, maximum time.Duration
	limit            int

	mu        sync.Mutex
	sources   map[netip.Addr]*entry
	unblocked byExpiry
	blocked   byExpiry
}

// NewTable returns an empty table for up to limit sources. It blocks a source with more than minimum, and no penalty
// exceeds maximum.
func NewTable(minimum, maximum time.Duration, limit int) *Table {
	return &Table{minimum: minimum, maximum: maximum, limit: limit, sources: map[netip.Addr]*entry{}}
}

// Ended is a block that is over.
type Ended struct {
	Source  netip.Prefix
	Refused int  // how many connections were refused while it lasted
	Early   bool // it was removed from a full table
}

// Refuse reports whether a connection from source is refused, with the reason of the last penalty, and counts it if so.
// It also returns blocks that have ended. Each of them is returned once, by Refuse or Add.
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

// Add adds a penalty to source. It returns how long the source is blocked if the block begins now, and 0 if not.
func (t *Table) Add(now time.Duration, source netip.Prefix, penalty time.Duration, reason Reason) (
	block time.Duration, ended []Ended,
) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ended := t.find(now, source)
	if e == nil {
		e = &entry{source: source, expiry: now}
		t.sources[source.Addr()] = e
		heap.Push(&t.unblocked, e)
	}
	total := min(e.expiry-now+penalty, t.maximum)
	e.expiry, e.reason = now+total, reason
	if total > t.minimum && !e.blocked {
		block = total
		heap.Remove(&t.unblocked, e.index)
		e.blocked = true
		heap.Push(&t.blocked, e)
	} else {
		heap.Fix(t.heap(e), e.index)
	}
	if len(t.sources) <= t.limit {
		return block, ended
	}
	evicted := t.evictable()
	t.remove(evicted)
	switch {
	case evicted == e:
		block = 0
	case evicted.blocked:
		ended = append(ended, Ended{evicted.source, evicted.refused, true})
	}
	return block, ended
}

// Len returns how many sources are in the table, including some whose penalty has just run out.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sources)
}

// Blocked returns how many sources are blocked.
func (t *Table) Blocked(now time.Duration) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.blocked {
		if e.expiry > now {
			n++
		}
	}
	return n
}

// find returns the entry of source, or nil. It removes the entry if its penalty has run out. It does the same for the
// first entry of each heap. A call adds at most one source, so the table removes expired entries faster than it grows,
// without a call that removes them all.
func (t *Table) find(now time.Duration, source netip.Prefix) (found *entry, ended []Ended) {
	found = t.sources[source.Addr()]
	for _, e := range []*entry{found, t.unblocked.first(), t.blocked.first()} {
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

// evictable returns the entry to remove from a full table.
func (t *Table) evictable() *entry {
	if e := t.unblocked.first(); e != nil {
		return e
	}
	return t.blocked.first()
}

func (t *Table) heap(e *entry) *byExpiry {
	if e.blocked {
		return &t.blocked
	}
	return &t.unblocked
}
