package passwords

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/source"
)

// stub is a secret that calls a function of the test in place of a hash.
type stub func(password string) bool

func (s stub) MatchBytes(password []byte) bool { return s(string(password)) }

// stubbed returns a file in which ada is the only user, and each check calls work.
func stubbed(t *testing.T, opts Options, work stub) *File {
	t.Helper()
	f := open(t, newFile(t, "ada:"+cheapArgon), opts)
	e := entry{"ada", 1, secret{"stub", work}}
	f.table.Current().byName["ada"], f.table.Current().entries[0] = e, e
	return f
}

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}) }

// No more hashes are computed at once than allowed. A guess for an unknown user counts too.
func TestHashesAreBounded(t *testing.T) {
	for _, hashes := range []int{0, 1, 3} {
		var now, most, all atomic.Int64
		f := stubbed(t, Options{Hashes: hashes}, func(string) bool {
			n := now.Add(1)
			defer now.Add(-1)
			for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
			}
			runtime.Gosched()
			all.Add(1)
			return true
		})
		var busy atomic.Int64
		race(1000, func(i int) {
			user := []string{"ada", "nobody"}[i%2]
			want := map[string]error{"nobody": ErrWrong}[user]
			if err := f.VerifyFrom(context.Background(), address(i), user, "guess"); errors.Is(err, ErrBusy) {
				busy.Add(1)
			} else if err != want {
				t.Errorf("%s: %v, want %v", user, err, want)
			}
		})
		if hashes == 0 {
			hashes = runtime.GOMAXPROCS(0)
		}
		if most.Load() > int64(hashes) {
			t.Errorf("%d hashes at once, want at most %d", most.Load(), hashes)
		}
		if all.Load()+busy.Load() != 1000 || f.Refused() != uint64(busy.Load()) {
			t.Errorf("%d hashes and %d refusals, of which %d are counted, for 1000 guesses", all.Load(), busy.Load(), f.Refused())
		}
	}
}

// queueTest is a queue for one hash, which is running, and what has happened to the logins that waited.
type queueTest struct {
	*testing.T
	q      *queue
	mu     sync.Mutex
	events []string
}

func newQueueTest(t *testing.T, length int) *queueTest {
	s := &queueTest{T: t, q: newQueue(1, source.Networks{})}
	s.q.length = length
	must(t, s.q.enter(t.Context(), netip.MustParseAddr("203.0.113.1")))
	return s
}

// arrive adds a login to the queue. It leaves as soon as its turn comes.
func (s *queueTest) arrive(ctx context.Context, name, from string) {
	go func() {
		event := name
		switch err := s.q.enter(ctx, netip.MustParseAddr(from)); {
		case errors.Is(err, context.Canceled):
			event += " left"
		case errors.Is(err, context.DeadlineExceeded):
			event += " waited too long"
		case errors.Is(err, ErrBusy):
			event += " refused"
		default:
			defer s.q.leave()
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

func TestQueueOrder(t *testing.T) {
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
		s.q.leave()
		s.expect("guess 1", "ada", "guess over IPv6", "bob", "guess 2", "its neighbour", "guess 3", "guess 4")
		if s.q.free != 1 || len(s.q.waiting) != 0 {
			t.Errorf("%d free and %d waiting, want 1 and 0", s.q.free, len(s.q.waiting))
		}
	})
}

// A login whose turn comes at the moment when it gives up starts, and leaves.
func TestQueueTurnAndTimeout(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	q := newQueue(1, source.Networks{})
	for i := range 100 { // each is one or the other
		if err := q.enter(over, address(i)); err != nil {
			t.Fatalf("nothing is running, and %d wait: %v", len(q.waiting), err)
		}
		q.leave()
	}
	if q.free != 1 {
		t.Errorf("%d free, want 1", q.free)
	}
}

func TestQueueFull(t *testing.T) {
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
		s.expect("eve refused") // no network there has more attempts
		s.q.leave()
		s.expect("guess 1", "ada", "bob")
	})
}

func TestQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQueueTest(t, 3)
		ctx, cancel := context.WithCancel(t.Context())
		s.arrive(ctx, "ada", "192.0.2.1")
		s.arrive(t.Context(), "bob", "192.0.2.2")
		cancel()
		s.expect("ada left")
		time.Sleep(maxWait) // of synctest's clock
		s.expect("bob waited too long")
		s.q.leave()
		must(t, s.q.enter(t.Context(), netip.Addr{}))
	})
}

func TestQueueHalvesAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1, source.Networks{})
		ask := func(from string, want int) {
			t.Helper()
			if got := q.count(netip.MustParseAddr(from)); got != want {
				t.Errorf("%s has %d attempts, want %d", from, got, want)
			}
		}
		for i := range 8 {
			ask("192.0.2.1", i+1)
		}
		ask("192.0.2.2", 1)
		time.Sleep(period) // of synctest's clock
		ask("192.0.2.1", 5)
		ask("192.0.2.2", 1)
		for i := range 3 * maxNetworks {
			q.count(address(i))
		}
		if len(q.attempts) > maxNetworks {
			t.Errorf("%d networks are remembered, want at most %d", len(q.attempts), maxNetworks)
		}
	})
}

// Correct passwords do not count as attempts.
func TestQueueForgives(t *testing.T) {
	f := stubbed(t, Options{Hashes: 1}, func(password string) bool { return password == "right" })
	ada, guesser := address(1), address(2)
	for range 3 {
		verify(t, f, ada, "ada", "right", nil)
		verify(t, f, ada, "ada", "mistyped", ErrWrong)
		verify(t, f, guesser, "ada", "guess", ErrWrong)
		verify(t, f, guesser, "nobody", "right", ErrWrong)
		verify(t, f, address(3), "ada", "right", nil)
	}
	want := map[netip.Prefix]int{networkOf(f.queue, ada): 3, networkOf(f.queue, guesser): 6}
	if !maps.Equal(f.queue.attempts, want) {
		t.Errorf("attempts %v, want %v", f.queue.attempts, want)
	}
	f.queue.forgive(address(4)) // whose attempts were deleted since
	if !maps.Equal(f.queue.attempts, want) {
		t.Errorf("attempts %v, want %v", f.queue.attempts, want)
	}
}

// networkOf returns the network that the queue counts an address to.
func networkOf(q *queue, from netip.Addr) netip.Prefix {
	network, _ := q.networks.Of(from)
	return network
}

// Options.Networks decides which addresses share a rank, as it does for penalties.
func TestQueueNetworks(t *testing.T) {
	for _, tt := range []struct {
		networks source.Networks
		want     []int // attempts of the four addresses below, in this order
	}{
		{source.Networks{}, []int{1, 1, 1, 2}},
		{source.Networks{Bits4: 24, Bits6: 48}, []int{1, 2, 1, 2}},
		{source.Networks{Bits4: 16, Bits6: 128}, []int{1, 2, 1, 1}},
		{source.Networks{Bits4: 24, Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, []int{1, 2, 1, 2}},
	} {
		f := stubbed(t, Options{Networks: tt.networks}, func(string) bool { return false })
		var got []int
		for _, from := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"} {
			verify(t, f, netip.MustParseAddr(from), "ada", "guess", ErrWrong)
			got = append(got, f.queue.attempts[networkOf(f.queue, netip.MustParseAddr(from))])
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v: attempts %v, want %v", tt.networks, got, tt.want)
		}
	}
	if _, err := Open(newFile(t, ""), Options{Networks: source.Networks{Bits4: 33}}); err == nil {
		t.Error("a prefix of 33 bits was accepted")
	}
}

// While one address makes a thousand guesses, a visitor from another address is next.
func TestVisitorAmongGuessers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		f := stubbed(t, Options{Hashes: 2}, func(password string) bool {
			if password != "right" {
				<-next
			}
			return password == "right"
		})
		for range 1000 {
			go func() { _ = f.VerifyFrom(t.Context(), address(1), "ada", "guess") }()
		}
		synctest.Wait()
		answer := make(chan error, 1)
		go func() { answer <- f.VerifyFrom(t.Context(), address(2), "ada", "right") }()
		synctest.Wait()
		next <- struct{}{} // one of the two running guesses ends
		must(t, <-answer)
		if want := uint64(1000 - 2 - 2*queueLength + 1); f.Refused() != want {
			t.Errorf("%d are refused, want %d: all except those that run, those that wait and the visitor", f.Refused(), want)
		}
		close(next)
	})
}

// A thousand guessers with an address each fill the queue, but their attempts soon outnumber those of a new visitor. A
// person who types the password again after three seconds gets in before ssh gives up, which is at the third attempt.
func TestVisitorAmongManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const work, network = 30 * time.Millisecond, 200 * time.Millisecond
		f := stubbed(t, Options{Hashes: 1}, func(password string) bool {
			time.Sleep(work) // of synctest's clock
			return password == "right"
		})
		ctx, cancel := context.WithCancel(t.Context())
		var guessers sync.WaitGroup
		defer guessers.Wait()
		defer cancel()
		for i := range 1000 {
			guessers.Go(func() {
				for ctx.Err() == nil {
					_ = f.VerifyFrom(ctx, address(i), "ada", "guess")
					time.Sleep(network)
				}
			})
		}
		for visitor := range 4 {
			tries := 1
			for f.VerifyFrom(ctx, address(1000+visitor), "ada", "right") != nil {
				tries++
				time.Sleep(3 * time.Second)
			}
			t.Logf("visitor %d got in at attempt %d", visitor, tries)
			if tries > 3 {
				t.Errorf("visitor %d needed %d attempts", visitor, tries)
			}
		}
	})
}

func TestRefusalsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warned []string
		f := stubbed(t, Options{Hashes: 1, Warn: func(err error) {
			if !errors.Is(err, ErrBusy) {
				t.Errorf("warned of %v, want ErrBusy in it", err)
			}
			warned = append(warned, err.Error())
		}}, func(string) bool { return true })
		must(t, f.queue.enter(t.Context(), netip.Addr{}))
		hasty, cancel := context.WithCancel(t.Context())
		cancel()
		for _, later := range []time.Duration{0, 1, period - 2, 1, 1, 3 * period} {
			time.Sleep(later) // of synctest's clock
			if err := f.VerifyFrom(hasty, address(1), "ada", "open sesame"); !errors.Is(err, ErrBusy) || !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want ErrBusy and the reason", err)
			}
		}
		f.queue.leave()
		must(t, f.VerifyFrom(t.Context(), address(1), "ada", "open sesame"))
		const words = "too many passwords to check at once: "
		if want := []string{words + "1 refused", words + "3 refused", words + "2 refused"}; !slices.Equal(warned, want) {
			t.Errorf("warned %q, want %q", warned, want)
		}
	})
}

// A panic ends only its own attempt, and the next one starts.
func TestPanicLeavesTheQueue(t *testing.T) {
	f := stubbed(t, Options{Hashes: 1}, func(password string) bool {
		if password == "panic" {
			panic("unknown kind of hash")
		}
		return true
	})
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was recovered")
				}
			}()
			f.Verify("ada", "panic")
		}()
		if !f.Verify("ada", "open sesame") {
			t.Error("the next login was refused")
		}
	}
}
