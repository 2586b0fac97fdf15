package fairqueue

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/source"
)

func network(i int) netip.Prefix { return of(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})) }

// of returns the network of an address as it is by default.
func of(addr netip.Addr) netip.Prefix {
	network, _ := source.Networks{}.Of(addr)
	return network
}

// queueTest is a queue for one client, which is in, and what has happened to those that waited.
type queueTest struct {
	*testing.T
	q      *Queue
	mu     sync.Mutex
	events []string
}

func newQueueTest(t *testing.T, length int) *queueTest {
	s := &queueTest{T: t, q: New(1, length)}
	if err := s.q.Enter(t.Context(), of(netip.MustParseAddr("203.0.113.1")), 1); err != nil {
		t.Fatal(err)
	}
	return s
}

// arrive adds a client to the queue. It leaves as soon as its turn comes.
func (s *queueTest) arrive(ctx context.Context, name, from string) {
	go func() {
		event := name
		switch err := s.q.Enter(ctx, of(netip.MustParseAddr(from)), 1); {
		case errors.Is(err, context.Canceled):
			event += " left"
		case errors.Is(err, context.DeadlineExceeded):
			event += " waited too long"
		case errors.Is(err, ErrBusy):
			event += " refused"
		default:
			defer s.q.Leave()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, event)
	}()
	synctest.Wait()
}

func (s *queueTest) expect(want ...string) {
	s.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.events, want) {
		s.Errorf("events %q, want %q", s.events, want)
	}
	s.events = nil
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueTest(t, 10)
		for i := range 3 {
			s.arrive(t.Context(), fmt.Sprint("guess ", i+1), "192.0.2.1")
		}
		s.arrive(t.Context(), "ada", "192.0.2.2")
		s.arrive(t.Context(), "guess over IPv6", "2001:db8::1")
		s.arrive(t.Context(), "its neighbour", "2001:db8::ffff:1") // the same /64
		s.arrive(t.Context(), "bob", "2001:db8:0:1::1")
		s.arrive(t.Context(), "guess 4", "::ffff:192.0.2.1")
		s.q.Leave()
		s.expect("guess 1", "ada", "guess over IPv6", "bob", "guess 2", "its neighbour", "guess 3", "guess 4")
		if s.q.free != 1 || len(s.q.waiting) != 0 {
			t.Errorf("%d free and %d waiting, want 1 and 0", s.q.free, len(s.q.waiting))
		}
	})
}

// A client whose turn comes at the moment when it gives up starts, and leaves.
func TestTurnAndTimeout(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	q := New(1, 10)
	for i := range 100 { // each is one or the other
		if err := q.Enter(over, network(i), 1); err != nil {
			t.Fatalf("nobody is in, and %d wait: %v", len(q.waiting), err)
		}
		q.Leave()
	}
	if q.free != 1 {
		t.Errorf("%d free, want 1", q.free)
	}
}

func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueTest(t, 3)
		for i := range 5 {
			s.arrive(t.Context(), fmt.Sprint("guess ", i+1), "192.0.2.1")
		}
		s.expect("guess 4 refused", "guess 5 refused")
		s.arrive(t.Context(), "ada", "192.0.2.2")
		s.arrive(t.Context(), "bob", "192.0.2.3")
		s.expect("guess 3 refused", "guess 2 refused")
		s.arrive(t.Context(), "eve", "192.0.2.4")
		s.expect("eve refused") // no network there has spent more
		s.q.Leave()
		s.expect("guess 1", "ada", "bob")
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueTest(t, 3)
		ctx, cancel := context.WithCancel(t.Context())
		s.arrive(ctx, "ada", "192.0.2.1")
		s.arrive(t.Context(), "bob", "192.0.2.2")
		cancel()
		s.expect("ada left")
		time.Sleep(maxWait) // of synctest's clock
		s.expect("bob waited too long")
		s.q.Leave()
		if err := s.q.Enter(t.Context(), netip.Prefix{}, 1); err != nil {
			t.Error(err)
		}
	})
}

func TestHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(1, 10)
		charge := func(from string, cost, want int64) {
			t.Helper()
			if got := q.charge(of(netip.MustParseAddr(from)), cost); got != want {
				t.Errorf("%s has spent %d, want %d", from, got, want)
			}
		}
		for i := range int64(8) {
			charge("192.0.2.1", 1, i+1)
		}
		charge("192.0.2.2", 1, 1)
		time.Sleep(period) // of synctest's clock
		charge("192.0.2.1", 1, 5)
		charge("192.0.2.2", 1, 1)
		charge("192.0.2.1", -5, 0)
		charge("192.0.2.1", -5, -5) // what was halved is given back whole
		charge("192.0.2.1", 2, 2)
		for i := range 3 * maxNetworks {
			q.Charge(network(i), 1)
		}
		if len(q.spent) > maxNetworks {
			t.Errorf("%d networks are remembered, want at most %d", len(q.spent), maxNetworks)
		}
	})
}

// The queue knows how many wait, and for how long all of them have waited.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueTest(t, 2)
		for _, name := range []string{"a", "b", "c"} {
			s.arrive(t.Context(), name, "192.0.2.1")
		}
		if got, want := s.q.Stats(), (Stats{Waiting: 2, Entered: 2}); got != want {
			t.Errorf("while two wait: %+v, want %+v", got, want)
		}
		time.Sleep(2 * time.Second) // the bubble's
		s.q.Leave()
		synctest.Wait()
		if got, want := s.q.Stats(), (Stats{Entered: 4, Waited: 4 * time.Second}); got != want {
			t.Errorf("at the end: %+v, want %+v", got, want)
		}
	})
}
