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

	"foyer/middleware/source"
)

// ErrBusy is wrapped by the error of a login that was refused without a check of its password because too many waited for
// a hash, and by the error that reports the number of such logins to Options.Warn.
var ErrBusy = errors.New("too many passwords to check at once")

const (
	// queueLength is how many logins may wait per hash that may run. A hash of 19 MiB takes about 30 ms of a core, so the
	// last of a full queue waits two seconds, on a small machine and on a large one.
	queueLength = 64

	// maxWait bounds the wait if the hashes of a file are more expensive. People take a prompt that does not respond for
	// longer as broken, and a client that was refused can try again.
	maxWait = 5 * time.Second

	// period is the interval of reports about refused logins, and the half-life of the attempts of a network.
	period = time.Minute

	// maxNetworks bounds how many networks are remembered: 4,096 take about 200 kB.
	maxNetworks = 1 << 12
)

// queue lets a few logins compute hashes at once and orders the others. The next one is from the network with the fewest
// recent attempts, not counting correct passwords, so a network that guesses a thousand times waits behind everybody who
// has just arrived. If the queue is full, the login whose network has the most attempts is refused. All clients of one
// network share its place, for example an office, or the visitors behind a proxy that hides their addresses.
type queue struct {
	length   int // maximum number of waiters
	networks source.Networks

	mu       sync.Mutex
	free     int                  // how many logins could start now
	waiting  []*waiter            // by rank, then by arrival
	attempts map[netip.Prefix]int // halved once in a period
	halved   time.Time
}

// waiter is a login in the queue.
type waiter struct {
	rank int        // attempts of its network
	turn chan error // receives nil to start, or ErrBusy; has room for one
}

func newQueue(hashes int, networks source.Networks) *queue {
	return &queue{
		length: queueLength * hashes, networks: networks, free: hashes,
		attempts: map[netip.Prefix]int{}, halved: time.Now(),
	}
}

// enter waits until a login from an address may start. If the error is nil, the caller must call leave.
func (q *queue) enter(ctx context.Context, from netip.Addr) error {
	w := q.join(from)
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

func (q *queue) join(from netip.Addr) *waiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := &waiter{rank: q.count(from), turn: make(chan error, 1)}
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

// count counts an attempt from an address and returns the attempts of its network.
func (q *queue) count(from netip.Addr) int {
	if len(q.attempts) >= maxNetworks || time.Since(q.halved) >= period {
		for network, n := range q.attempts {
			if q.attempts[network] = n / 2; n < 2 {
				delete(q.attempts, network)
			}
		}
		q.halved = time.Now()
	}
	network, _ := q.networks.Of(from)
	q.attempts[network]++
	return q.attempts[network]
}

// forgive takes back an attempt whose password was correct, so that frequent logins do not lose their rank.
func (q *queue) forgive(from netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	network, _ := q.networks.Of(from)
	if q.attempts[network]--; q.attempts[network] <= 0 {
		delete(q.attempts, network) // also if it was halved to zero since
	}
}

// leave starts the next login.
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

// remove removes w from the queue and reports whether it was still there.
func (q *queue) remove(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, w)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}

// refusals counts refused logins.
type refusals struct {
	total atomic.Uint64

	mu       sync.Mutex
	last     time.Time // of the last report
	reported uint64    // the total at that time
}

// add counts one more refusal. At most once in a period it returns an error that reports the number since the last report.
func (r *refusals) add() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := r.total.Add(1)
	if !r.last.IsZero() && time.Since(r.last) < period {
		return nil
	}
	recent := total - r.reported
	r.last, r.reported = time.Now(), total
	return fmt.Errorf("%w: %d refused", ErrBusy, recent)
}
