package passwords

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrBusy is wrapped by the error of a login that was refused without a look at its password, because too many
// waited for a hash, and by that which tells Options.Warn how many there were.
var ErrBusy = errors.New("too many passwords to check at once")

const (
	// lineLength is how many may wait for each hash that may run. One of 19 MiB takes some 30 ms of a core, so
	// that the last of a full line waits two seconds, on a small machine and on a large one.
	lineLength = 64

	// patience bounds the wait where the hashes of a file are dearer. A person takes a prompt that says nothing
	// for longer as broken, and a client that was told no can ask again.
	patience = 5 * time.Second

	// period is how often it is told how many were refused, and how long it takes until half of what a network
	// asked for is forgotten.
	period = time.Minute

	// maxNetworks bounds what is kept of who asked: 4,096 are some 200 kB.
	maxNetworks = 1 << 12
)

// queue lets a few work at once. The others wait, and the next is whoever's network has asked least of late, but for
// what was right: one that guesses a thousand times stands behind everybody who has just come. In a full line the one
// whose network has asked most gives way to somebody whose has asked less.
//
// A network is what one customer has, as sshd's PerSourceNetBlockSize would be set: an IPv4 address, an IPv6 /64.
// Those who share one share its turn too, be it an office or a proxy that hides who comes.
type queue struct {
	length int // of the line

	mu      sync.Mutex
	free    int                  // who could come in now
	waiting []*waiter            // by rank, and those of one rank in the order in which they came
	asked   map[netip.Prefix]int // by network, halved once in a period
	halved  time.Time
}

// waiter is somebody in the line.
type waiter struct {
	rank int        // how often their network had asked
	turn chan error // nil to come in, ErrBusy to go away; holds one
}

func newQueue(workers int) *queue {
	return &queue{length: lineLength * workers, free: workers, asked: map[netip.Prefix]int{}, halved: time.Now()}
}

// enter waits for source's turn. Who came in, with a nil error, has to leave.
func (q *queue) enter(ctx context.Context, source netip.Addr) error {
	w := q.join(source)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case err := <-w.turn:
		return err
	case <-ctx.Done():
		if q.giveUp(w) {
			return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
		}
		return <-w.turn // which came in the same moment
	}
}

func (q *queue) join(source netip.Addr) *waiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := &waiter{rank: q.ask(source), turn: make(chan error, 1)}
	if q.free > 0 {
		q.free--
		w.turn <- nil
		return w
	}
	behind, _ := slices.BinarySearchFunc(q.waiting, w.rank+1, func(w *waiter, rank int) int { return cmp.Compare(w.rank, rank) })
	q.waiting = slices.Insert(q.waiting, behind, w)
	if last := len(q.waiting) - 1; last == q.length {
		q.waiting[last].turn <- ErrBusy
		q.waiting = slices.Delete(q.waiting, last, last+1)
	}
	return w
}

// ask counts that source has come, and returns how often its network has.
func (q *queue) ask(source netip.Addr) int {
	if len(q.asked) >= maxNetworks || time.Since(q.halved) >= period {
		for network, n := range q.asked {
			if q.asked[network] = n / 2; n < 2 {
				delete(q.asked, network)
			}
		}
		q.halved = time.Now()
	}
	network := networkOf(source)
	q.asked[network]++
	return q.asked[network]
}

// forgive takes back that source has come: whose password was right is no guesser, however often they come.
func (q *queue) forgive(source netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	network := networkOf(source)
	if q.asked[network]--; q.asked[network] <= 0 {
		delete(q.asked, network) // also where it was halved to nothing meanwhile
	}
}

// leave lets the next one in.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.free++
		return
	}
	q.waiting[0].turn <- nil
	q.waiting = slices.Delete(q.waiting, 0, 1)
}

// giveUp takes w out of the line, and reports whether w was still in it.
func (q *queue) giveUp(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, w)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}

// networkOf returns the network of an address, and the zero one where none is known.
func networkOf(source netip.Addr) netip.Prefix {
	source = source.Unmap().WithZone("")
	bits := min(source.BitLen(), 64)
	network, _ := source.Prefix(bits)
	return network
}

// refusals counts who was sent away.
type refusals struct {
	total atomic.Uint64

	mu   sync.Mutex
	last time.Time // when it was last told
	told uint64    // how many were, by then
}

// add counts one more. Where it is time to tell again, the error says how many have come since the last one.
func (r *refusals) add() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := r.total.Add(1)
	if !r.last.IsZero() && time.Since(r.last) < period {
		return nil
	}
	fresh := total - r.told
	r.last, r.told = time.Now(), total
	return fmt.Errorf("%w: %d refused", ErrBusy, fresh)
}
