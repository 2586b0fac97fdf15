//go:build !windows

package passwords

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
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

// A correct password costs its network no place in the queue, and a wrong one does: who logs in often is next, not who
// guesses.
func TestCorrectPasswordsCostNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next, order := make(chan struct{}), make(chan string, 10)
		f := stubbed(t, Options{Hashes: 1}, func(password string) bool {
			if password == "slow" {
				<-next
			}
			if strings.HasPrefix(password, "waits") {
				order <- password
			}
			return password == "right"
		})
		for range 3 {
			verify(t, f, address(1), "ada", "right", nil)
			verify(t, f, address(2), "ada", "guess", ErrWrong)
		}
		verify(t, f, address(3), "ada", "guess", ErrWrong)
		go func() { _ = f.VerifyFrom(t.Context(), address(4), "ada", "slow") }()
		for _, from := range []int{2, 3, 1} {
			synctest.Wait()
			go func() { _ = f.VerifyFrom(t.Context(), address(from), "ada", fmt.Sprint("waits ", from)) }()
		}
		synctest.Wait()
		close(next)
		if got := []string{<-order, <-order, <-order}; !slices.Equal(got, []string{"waits 1", "waits 3", "waits 2"}) {
			t.Errorf("in the order %v, want those first who guessed least", got)
		}
	})
}

// Options.Networks decides which addresses share a rank, as it does for penalties: after a guess from one address, another
// one of its network waits behind a newcomer.
func TestQueueNetworks(t *testing.T) {
	for _, tt := range []struct {
		networks source.Networks
		shared   [2]bool // by 192.0.2.1 and .2, and by 2001:db8::1 and ::2
	}{
		{source.Networks{}, [2]bool{false, true}},
		{source.Networks{Bits4: 24, Bits6: 48}, [2]bool{true, true}},
		{source.Networks{Bits4: 16, Bits6: 128}, [2]bool{true, false}},
		{source.Networks{Bits4: 24, Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, [2]bool{true, true}},
	} {
		for i, pair := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}} {
			synctest.Test(t, func(t *testing.T) {
				next, order := make(chan struct{}), make(chan string, 3)
				f := stubbed(t, Options{Hashes: 1, Networks: tt.networks}, func(password string) bool {
					if password == "slow" {
						<-next
						return false
					}
					order <- password
					return false
				})
				verify(t, f, netip.MustParseAddr(pair[0]), "ada", pair[0], ErrWrong)
				<-order
				go func() { _ = f.VerifyFrom(t.Context(), netip.MustParseAddr("203.0.113.1"), "ada", "slow") }()
				const newcomer = "198.51.100.1"
				for _, from := range []string{pair[1], newcomer} {
					synctest.Wait()
					go func() { _ = f.VerifyFrom(t.Context(), netip.MustParseAddr(from), "ada", from) }()
				}
				synctest.Wait()
				close(next)
				if first := <-order; (first == newcomer) != tt.shared[i] {
					t.Errorf("%+v: after a guess from %s, %s is first", tt.networks, pair[0], first)
				}
				<-order
			})
		}
	}
}

func TestNetworksAreChecked(t *testing.T) {
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
		must(t, f.queue.Enter(t.Context(), netip.Prefix{}, 1))
		hasty, cancel := context.WithCancel(t.Context())
		cancel()
		for _, later := range []time.Duration{0, 1, period - 2, 1, 1, 3 * period} {
			time.Sleep(later) // of synctest's clock
			if err := f.VerifyFrom(hasty, address(1), "ada", "open sesame"); !errors.Is(err, ErrBusy) || !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want ErrBusy and the reason", err)
			}
		}
		f.queue.Leave()
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
