// Package fairqueue bounds how much work clients can make the server do at once, and shares it fairly between networks.
package fairqueue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ErrBusy is wrapped by the error of a client that was refused because too many others waited.
var ErrBusy = errors.New("too many wait")

const (
	// maxWait is how long a client waits at most. People take a prompt that does not respond for longer as broken, and a
	// client that was refused can try again.
	maxWait = 5 * time.Second

	// period is the half-life of what a network has spent.
	period = time.Minute

	// maxNetworks bounds how many networks are remembered: 4,096 take about 200 kB.
	maxNetworks = 1 << 12
)

// Queue lets a few clients work at once and orders the others. The next one is from the network that has spent least, so a
// network that asks a thousand times waits behind everybody who has just arrived. If the queue is full, the client whose
// network has spent most is refused. All clients of one network share its place, for example an office, or the visitors
// behind a proxy that hides their addresses. It is safe for concurrent use.
type Queue struct {
	length int // maximum number of waiters

	mu      sync.Mutex
	free    int                    // how many clients could start now
	waiting []*waiter              // by rank, then by arrival
	spent   map[netip.Prefix]int64 // halved once in a period
	halved  time.Time
	stats   Stats
}

// Stats describes a queue. A client that starts at once has waited for no time.
type Stats struct {
	Waiting int           // how many wait now
	Entered uint64        // how many have started or were refused
	Waited  time.Duration // for how long all of them together
}

// Stats returns the present numbers.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	stats := q.stats
	stats.Waiting = len(q.waiting)
	return stats
}

// waited counts a client that has started or was refused.
func (q *Queue) waited(since time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.Entered++
	q.stats.Waited += time.Since(since)
}

// waiter is a client in the queue.
type waiter struct {
	rank int64      // what its network has spent
	turn chan error // receives nil to start, or ErrBusy; has room for one
}

// New returns a queue in which slots clients work at once and length others wait.
func New(slots, length int) *Queue {
	return &Queue{length: length, free: slots, spent: map[netip.Prefix]int64{}, halved: time.Now()}
}

// Enter charges cost to the client's network, and waits until the client may start: for 5 seconds, or until ctx is done. If
// the error is nil, the caller must call Leave.
func (q *Queue) Enter(ctx context.Context, from netip.Prefix, cost int64) error {
	w := q.join(from, cost)
	if w == nil {
		return nil
	}
	defer q.waited(time.Now())
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case err := <-w.turn:
		return err
	case <-ctx.Done():
		if q.remove(w) {
			return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
		}
		return <-w.turn // its turn came at the same moment
	}
}

// join returns nil if the client may start at once.
func (q *Queue) join(from netip.Prefix, cost int64) *waiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	rank := q.charge(from, cost)
	if q.free > 0 {
		q.free--
		q.stats.Entered++
		return nil
	}
	w := &waiter{rank, make(chan error, 1)}
	behind, _ := slices.BinarySearchFunc(q.waiting, w.rank+1, func(w *waiter, rank int64) int { return cmp.Compare(w.rank, rank) })
	q.waiting = slices.Insert(q.waiting, behind, w)
	if last := len(q.waiting) - 1; last == q.length {
		q.waiting[last].turn <- ErrBusy
		q.waiting = slices.Delete(q.waiting, last, last+1)
	}
	return w
}

// Charge adds cost, which may be negative, to what a network has spent.
func (q *Queue) Charge(from netip.Prefix, cost int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.charge(from, cost)
}

// charge returns what the network has spent.
func (q *Queue) charge(from netip.Prefix, cost int64) int64 {
	if len(q.spent) >= maxNetworks || time.Since(q.halved) >= period {
		for network, n := range q.spent {
			if q.spent[network] = n / 2; n < 2 {
				delete(q.spent, network)
			}
		}
		q.halved = time.Now()
	}
	spent := q.spent[from] + cost
	if q.spent[from] = spent; spent <= 0 { // also if it was halved since
		delete(q.spent, from)
	}
	return spent
}

// Leave starts the next client.
func (q *Queue) Leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.free++
		return
	}
	q.waiting[0].turn <- nil
	q.waiting = slices.Delete(q.waiting, 0, 1)
}

// remove removes w from the queue and reports whether it was still there.
func (q *Queue) remove(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, w)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}
