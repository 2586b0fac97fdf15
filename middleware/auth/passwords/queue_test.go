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
)

// stub is a secret whose work is what a test says.
type stub func(password string) bool

func (s stub) MatchBytes(password []byte) bool { return s(string(password)) }

// stubbed returns a file in which ada and everybody unknown cost work.
func stubbed(t *testing.T, opts Options, work stub) *File {
	t.Helper()
	f := open(t, newFile(t, "ada:"+cheapArgon), opts)
	e := entry{"ada", 1, secret{"stub", work}}
	f.table.Current().byName["ada"], f.table.Current().entries[0] = e, e
	return f
}

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}) }

// Never more hashes at once than allowed, whoever guesses; a guess at nobody is one, too.
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

// scene is a queue with one place, which is taken, and the names of those who have come in or gone since.
type scene struct {
	*testing.T
	q      *queue
	mu     sync.Mutex
	events []string
}

func newScene(t *testing.T, length int) *scene {
	s := &scene{T: t, q: newQueue(1)}
	s.q.length = length
	must(t, s.q.enter(t.Context(), netip.MustParseAddr("203.0.113.1")))
	return s
}

// come lets somebody stand in line, and leave at once when their turn comes.
func (s *scene) come(ctx context.Context, name, source string) {
	go func() {
		event := name
		switch err := s.q.enter(ctx, netip.MustParseAddr(source)); {
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

func (s *scene) expect(want ...string) {
	s.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.events, want) {
		s.Errorf("events %q, want %q", s.events, want)
	}
	s.events = nil
}

func TestQueueServesWhoAskedLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 10)
		for i := range 3 {
			s.come(t.Context(), fmt.Sprint("guess ", i+1), "192.0.2.1")
		}
		s.come(t.Context(), "ada", "192.0.2.2")
		s.come(t.Context(), "guess at 6", "2001:db8::1")
		s.come(t.Context(), "its neighbour", "2001:db8::ffff:1") // the same /64
		s.come(t.Context(), "bob", "2001:db8:0:1::1")
		s.come(t.Context(), "guess 4", "::ffff:192.0.2.1")
		s.q.leave()
		s.expect("guess 1", "ada", "guess at 6", "bob", "guess 2", "its neighbour", "guess 3", "guess 4")
		if s.q.free != 1 || len(s.q.waiting) != 0 {
			t.Errorf("%d places free and %d in line, want one and nobody", s.q.free, len(s.q.waiting))
		}
	})
}

// Whose turn comes in the moment in which they give up takes it, and leaves it to the next one.
func TestQueueInTheSameMoment(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	q := newQueue(1)
	for i := range 100 { // each is one or the other
		if err := q.enter(over, address(i)); err != nil {
			t.Fatalf("the place is free, and %d are in line: %v", len(q.waiting), err)
		}
		q.leave()
	}
	if q.free != 1 {
		t.Errorf("%d places free, want one", q.free)
	}
}

func TestQueueIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 3)
		for i := range 5 {
			s.come(t.Context(), fmt.Sprint("guess ", i+1), "192.0.2.1")
		}
		s.expect("guess 4 refused", "guess 5 refused")
		s.come(t.Context(), "ada", "192.0.2.2")
		s.come(t.Context(), "bob", "192.0.2.3")
		s.expect("guess 3 refused", "guess 2 refused")
		s.come(t.Context(), "eve", "192.0.2.4")
		s.expect("eve refused") // nobody there has asked more often
		s.q.leave()
		s.expect("guess 1", "ada", "bob")
	})
}

func TestQueueIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 3)
		ctx, cancel := context.WithCancel(t.Context())
		s.come(ctx, "ada", "192.0.2.1")
		s.come(t.Context(), "bob", "192.0.2.2")
		cancel()
		s.expect("ada left")
		time.Sleep(patience) // of synctest's clock
		s.expect("bob waited too long")
		s.q.leave()
		must(t, s.q.enter(t.Context(), netip.Addr{}))
	})
}

func TestQueueForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		ask := func(source string, want int) {
			t.Helper()
			if got := q.ask(netip.MustParseAddr(source)); got != want {
				t.Errorf("%s has asked %d times, want %d", source, got, want)
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
			q.ask(address(i))
		}
		if len(q.asked) > maxNetworks {
			t.Errorf("%d networks are kept, want at most %d", len(q.asked), maxNetworks)
		}
	})
}

// Who comes often and is right stands in front of who comes twice and guesses.
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
	want := map[netip.Prefix]int{networkOf(ada): 3, networkOf(guesser): 6}
	if !maps.Equal(f.queue.asked, want) {
		t.Errorf("asked: %v, want %v", f.queue.asked, want)
	}
	f.queue.forgive(address(4)) // who was forgotten meanwhile
	if !maps.Equal(f.queue.asked, want) {
		t.Errorf("asked: %v, want %v", f.queue.asked, want)
	}
}

// While a thousand guess from one address, a visitor from another is the next.
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
		next <- struct{}{} // one of the two guesses at work is over
		must(t, <-answer)
		if want := uint64(1000 - 2 - 2*lineLength + 1); f.Refused() != want {
			t.Errorf("%d are refused, want %d: all but those at work, those in line and the visitor's place", f.Refused(), want)
		}
		close(next)
	})
}

// A thousand guessers with an address each, who never rest: they fill the line, but not with those who have just come.
// A person who types the password again after three seconds gets in before ssh gives up, which is at the third time.
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
			t.Logf("visitor %d got in at try %d", visitor, tries)
			if tries > 3 {
				t.Errorf("visitor %d needed %d tries", visitor, tries)
			}
		}
	})
}

func TestRefusalsAreTold(t *testing.T) {
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
				t.Errorf("error %v, want ErrBusy and why", err)
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

// A panic ends its own attempt; its place is free again.
func TestPanicLeavesThePlace(t *testing.T) {
	f := stubbed(t, Options{Hashes: 1}, func(password string) bool {
		if password == "panic" {
			panic("hash of no known kind")
		}
		return true
	})
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is gone")
				}
			}()
			f.Verify("ada", "panic")
		}()
		if !f.Verify("ada", "open sesame") {
			t.Error("the next one is not let in")
		}
	}
}
