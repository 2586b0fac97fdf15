package penalties

import (
	"net/netip"
	"time"
)

// entry is a source with a penalty.
type entry struct {
	source  netip.Prefix
	expiry  time.Duration // when the penalty has run out
	refused int           // connections, while it is blocked
	index   int           // in its heap
	reason  Reason        // of the last penalty
	blocked bool
}

// byExpiry is a [heap.Interface] ordered by expiry, soonest first.
type byExpiry []*entry

func (h byExpiry) first() *entry {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

func (h byExpiry) Len() int           { return len(h) }
func (h byExpiry) Less(i, j int) bool { return h[i].expiry < h[j].expiry }

func (h byExpiry) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *byExpiry) Push(e any) {
	e.(*entry).index = len(*h)
	*h = append(*h, e.(*entry))
}

func (h *byExpiry) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
