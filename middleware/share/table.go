package share

import (
	"container/heap"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// table holds sources until a time, such as those that are blocked. If there are too many, those whose time ends first are
// forgotten. It is safe for concurrent use.
type table struct {
	limit int
	n     atomic.Int64

	mu    sync.RWMutex
	byID  map[string]*entry
	first byEnd
}

type entry struct {
	id      string
	end     time.Time
	index   int // in the heap
	blocked bool
	told    atomic.Bool
}

func newTable(limit int) *table { return &table{limit: limit, byID: map[string]*entry{}} }

// merge keeps a source until end, or until the end that is known if that is later.
func (t *table) merge(now time.Time, id string, end time.Time, blocked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.byID[id]
	switch {
	case known == nil:
		known = &entry{id: strings.Clone(id), end: end} // id is a part of a long message
		t.byID[known.id] = known
		heap.Push(&t.first, known)
	case end.After(known.end):
		known.end = end
		heap.Fix(&t.first, known.index)
	}
	known.blocked = blocked
	// At most one source is new, so those that have ended go faster than others come.
	for range 2 {
		if len(t.first) > t.limit || len(t.first) > 0 && !t.first[0].end.After(now) {
			delete(t.byID, heap.Pop(&t.first).(*entry).id)
		}
	}
	t.n.Store(int64(len(t.first)))
}

// left returns how long a source is still blocked, and whether this is the first call that says so.
func (t *table) left(now time.Time, id func() string) (left time.Duration, first bool) {
	if t.n.Load() == 0 {
		return 0, false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	known := t.byID[id()]
	if known == nil || !known.end.After(now) {
		return 0, false
	}
	return known.end.Sub(now), known.told.CompareAndSwap(false, true)
}

// owes returns what a source owes, and whether it is blocked.
func (t *table) owes(now time.Time, id string) (left time.Duration, blocked bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if known := t.byID[id]; known != nil && known.end.After(now) {
		left, blocked = known.end.Sub(now), known.blocked
	}
	return left, blocked
}

// after returns how long the sources are blocked that are blocked for longer than a time.
func (t *table) after(now time.Time, least time.Duration) map[string]time.Duration {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := map[string]time.Duration{}
	for id, known := range t.byID {
		if left := known.end.Sub(now); left > least && known.blocked {
			all[id] = left
		}
	}
	return all
}

// byEnd is a [heap.Interface].
type byEnd []*entry

func (h byEnd) Len() int           { return len(h) }
func (h byEnd) Less(i, j int) bool { return h[i].end.Before(h[j].end) }

func (h byEnd) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *byEnd) Push(e any) {
	e.(*entry).index = len(*h)
	*h = append(*h, e.(*entry))
}

func (h *byEnd) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
