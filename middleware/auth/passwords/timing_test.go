//go:build !windows

package passwords

import (
	"context"
	"foyer/middleware/fairqueue"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"
)

// cases are the logins whose times must not differ.
var cases = []struct{ name, user, password string }{
	{"unknown", "nobody", "open barley"},
	{"wrong", "ada", "open barley"},
	{"key only", "git", "open barley"}, // a user without a password is not in the file
	{"wrong, remembered", "eve", "open barley"},
	{"unknown, right for another", "nobody", "open sesame"},
}

func verify(tb testing.TB, f *File, from netip.Addr, user, password string, want error) {
	tb.Helper()
	if err := f.VerifyFrom(context.Background(), from, user, password); err != want {
		tb.Errorf("%s: %v, want %v", user, err, want)
	}
}

// newFileOf returns a file with ada and eve, whose password is remembered.
func newFileOf(tb testing.TB, hash string) *File {
	path := tb.TempDir() + "/ssh-passwords"
	if err := os.WriteFile(path, []byte("ada:"+hash+"\neve:"+hash+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chtimes(path, longAgo, longAgo); err != nil {
		tb.Fatal(err)
	}
	f, err := Open(path, Options{Remember: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	verify(tb, f, netip.Addr{}, "eve", "open sesame", nil)
	return f
}

func BenchmarkVerify(b *testing.B) {
	hash, err := newHash("open sesame")
	if err != nil {
		b.Fatal(err)
	}
	f := newFileOf(b, hash)
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				verify(b, f, netip.Addr{}, c.user, c.password, ErrWrong)
			}
		})
	}
	b.Run("right", func(b *testing.B) {
		for b.Loop() {
			verify(b, f, netip.Addr{}, "ada", "open sesame", nil)
			f.table.Current().logins.forget()
		}
	})
	b.Run("right, remembered", func(b *testing.B) {
		verify(b, f, netip.Addr{}, "ada", "open sesame", nil)
		for b.Loop() {
			verify(b, f, netip.Addr{}, "ada", "open sesame", nil)
		}
	})
}

// tries is how often each case is tried in a series; there are two.
const tries = 200

// BenchmarkEqualWork compares the medians of the cases. It estimates the noise as the largest difference between the medians
// of two random halves of the 400 tries of a case, in a thousand splits. Run it with -benchtime 1x on an idle machine; no
// test asserts a time.
func BenchmarkEqualWork(b *testing.B) {
	argon, err := newHash("open sesame")
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []struct{ name, hash string }{
		{"argon2id, 19 MiB", argon},
		{"argon2id, 64 KiB", cheapArgon},
		{"sha512-crypt, 1,000 rounds", cheapSHA512},
		{"bcrypt, cost 5", cheapBcrypt},
	} {
		b.Run(kind.name, func(b *testing.B) { compare(b, measure(b, newFileOf(b, kind.hash))) })
	}
}

// measure tries all cases in random order, so that a drift affects all of them.
func measure(t testing.TB, f *File) [][]time.Duration {
	took := make([][]time.Duration, len(cases))
	for range 2 * tries {
		for _, i := range rand.Perm(len(cases)) {
			begun := time.Now()
			verify(t, f, netip.Addr{}, cases[i].user, cases[i].password, ErrWrong)
			took[i] = append(took[i], time.Since(begun))
		}
	}
	return took
}

func compare(t *testing.B, took [][]time.Duration) {
	var noise time.Duration
	var medians []time.Duration
	table := tabwriter.NewWriter(t.Output(), 0, 8, 2, ' ', 0)
	for i, c := range cases {
		first, second := median(took[i][:tries]), median(took[i][tries:])
		medians = append(medians, first)
		_, _ = table.Write([]byte(c.name + "\t" + first.String() + "\t" + second.String() + "\n"))
		for range 1000 {
			rand.Shuffle(2*tries, func(a, b int) { took[i][a], took[i][b] = took[i][b], took[i][a] })
			noise = max(noise, (median(took[i][:tries]) - median(took[i][tries:])).Abs())
		}
	}
	_ = table.Flush()
	apart := slices.Max(medians) - slices.Min(medians)
	t.Logf("the medians differ by %v, the noise is %v", apart, noise)
	if apart > noise {
		t.Errorf("the cases can be distinguished")
	}
}

func median(took []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[len(sorted)/2]
}

// measured measures the memory in use after a hash is computed and before its memory is collected.
type measured struct {
	matcher
	most *atomic.Uint64
}

func (w measured) MatchBytes(password []byte) bool {
	defer func() {
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		for seen := w.most.Load(); mem.HeapInuse > seen && !w.most.CompareAndSwap(seen, mem.HeapInuse); seen = w.most.Load() {
		}
	}()
	return w.matcher.MatchBytes(password)
}

// A thousand guessers never use more memory than three times what the running hashes take, plus 8 KiB each: the runtime
// collects garbage when the heap has doubled, and others start meanwhile. Visitors from other addresses with a correct
// password get in.
func TestMemoryIsBounded(t *testing.T) {
	const hashes, cost, guessers = 2, 8 << 20, 1000
	const ofCost = "$argon2id$v=19$m=8192,t=1,p=1$yl9cX+uvBKCsBsjKc8d/UA$n2IaJphQiy2owsJJ67n/bAK02kq3USmC9yZKKO/3OYM"
	f := open(t, newFile(t, "ada:"+ofCost), Options{Hashes: hashes})
	f.queue = fairqueue.New(hashes, 32) // with a longer queue, the test would take too long
	var most atomic.Uint64
	e := f.table.Current().entries[0]
	e.matcher = measured{e.matcher, &most}
	f.table.Current().byName["ada"], f.table.Current().entries[0] = e, e

	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	race(guessers, func(i int) {
		if f.VerifyFrom(context.Background(), address(0), []string{"ada", "nobody"}[i%2], "guess") == nil {
			t.Error("a guess is right")
		}
		if i%250 == 0 {
			verify(t, f, address(i+1), "ada", "open sesame", nil)
		}
	})
	used, limit := most.Load()-before.HeapInuse, before.HeapInuse+uint64(3*hashes*cost+guessers*8<<10)
	t.Logf("%d refused; %.1f MiB used, at most %.1f allowed", f.Refused(), float64(used)/(1<<20), float64(limit)/(1<<20))
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if forced := after.NumForcedGC - before.NumForcedGC; forced > 0 {
		t.Errorf("%d collections are forced: a guess would cost as much as the heap is large", forced)
	}
	if used > limit || used < cost {
		t.Errorf("%d bytes used, want at most %d, and %d for one hash", used, limit, cost)
	}
}
