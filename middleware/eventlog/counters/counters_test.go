package counters_test

import (
	"encoding/binary"
	"log/slog"
	"maps"
	"net"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/penalties"
	"foyer/middleware/source"
	"foyer/middleware/sshtest"
)

func peer(addr string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(addr), Port: 1022} }

// numbered returns one of 2^32 peers, each of which is a source.
func numbered(i int) net.Addr {
	ip := net.ParseIP("2001:db8::1")
	binary.BigEndian.PutUint32(ip[4:], uint32(i))
	return &net.TCPAddr{IP: ip}
}

// told is a counters and what it has told, in a bubble whose clock moves when everybody sleeps.
func told(t *testing.T, cfg counters.Config, test func(t *testing.T, counts *counters.Counters, l *sshtest.Log)) {
	synctest.Test(t, func(t *testing.T) {
		l := sshtest.NewLog()
		cfg.Logger = l.Logger()
		test(t, counters.New(cfg), l)
	})
}

// pass lets time pass, and what is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func expect(t *testing.T, l *sshtest.Log, want ...string) {
	t.Helper()
	got := strings.ReplaceAll(l.String(), `level=warn msg="limit reached" `, "")
	if want := strings.Join(append(want, ""), "\n"); got != want {
		t.Errorf("the log is\n%s\nwant\n%s", got, want)
	}
}

func TestCountersTellsOnceAnInterval(t *testing.T) {
	told(t, counters.Config{}, func(t *testing.T, counts *counters.Counters, l *sshtest.Log) {
		lines := []string{"addr=192.0.2.1/32 reason=sessions"}
		counts.Count(counters.Sessions, peer("192.0.2.1"))
		expect(t, l, lines...)
		pass(time.Minute - 1)
		for range 5 {
			counts.Count(counters.Sessions, peer("192.0.2.1"))
		}
		expect(t, l, lines...)
		pass(1)
		lines = append(lines, "addr=192.0.2.1/32 reason=sessions n=5")
		expect(t, l, lines...)
		pass(time.Hour)
		counts.Count(counters.Sessions, peer("192.0.2.1"))
		lines = append(lines, "addr=192.0.2.1/32 reason=sessions")
		pass(time.Minute)
		expect(t, l, lines...)
		if got := counts.Counts(); !maps.Equal(got, map[counters.Reason]uint64{counters.Sessions: 7}) {
			t.Errorf("counted %v", got)
		}
	})
}

func TestCountersTellsReasonsAndSourcesApart(t *testing.T) {
	told(t, counters.Config{}, func(t *testing.T, counts *counters.Counters, l *sshtest.Log) {
		for range 2 {
			counts.Count(counters.Sessions, peer("192.0.2.1"))
			counts.Count(counters.Sessions, peer("::ffff:192.0.2.1")) // the same one
			counts.Count(counters.Sessions, peer("2001:db8::1"))
			counts.Count(counters.Sessions, peer("2001:db8::2")) // a neighbour in the /64
			counts.Count(counters.IdleTime, peer("192.0.2.1"))
			counts.Count(counters.LogRate, nil)
		}
		lines := []string{
			"addr=192.0.2.1/32 reason=sessions", "addr=2001:db8::/64 reason=sessions",
			"addr=192.0.2.1/32 reason=idle-time", "reason=log-rate",
		}
		expect(t, l, lines...)
		pass(time.Minute)
		expect(t, l, append(lines, "addr=192.0.2.1/32 reason=idle-time", "reason=log-rate",
			"addr=192.0.2.1/32 reason=sessions n=3", "addr=2001:db8::/64 reason=sessions n=3")...)
	})
}

func TestCountersSettings(t *testing.T) {
	cfg := counters.Config{Interval: time.Second, Networks: source.Networks{Bits4: 24, Bits6: 48}}
	told(t, cfg, func(t *testing.T, counts *counters.Counters, l *sshtest.Log) {
		for _, addr := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"} {
			counts.Count(counters.Unread, peer(addr))
		}
		lines := []string{"addr=192.0.2.0/24 reason=unread", "addr=2001:db8::/48 reason=unread"}
		expect(t, l, lines...)
		pass(time.Second)
		expect(t, l, append(lines, lines...)...)
	})
}

// A flood of one sort does not hide another, and the numbers add up.
func TestCountersBoundsItsLines(t *testing.T) {
	told(t, counters.Config{}, func(t *testing.T, counts *counters.Counters, l *sshtest.Log) {
		const n = 1000
		for range 2 {
			for i := range n {
				counts.Count(counters.Connections, numbered(i))
			}
		}
		counts.Count(counters.Vanished, peer("192.0.2.1"))
		pass(time.Minute)
		want := "addr=others reason=connections n=" + strconv.Itoa(2*(n-20))
		if got := l.String(); strings.Count(got, "\n") != 20+20+1+1 || !strings.Contains(got, want) ||
			!strings.Contains(got, "addr=192.0.2.1/32 reason=vanished") {
			t.Errorf("the log is\n%s", got)
		}
		if got := sum(t, l); got != 2*n+1 {
			t.Errorf("the lines tell of %d", got)
		}
	})
}

// sum adds up the n of all lines.
func sum(t *testing.T, l *sshtest.Log) (all int) {
	t.Helper()
	number := regexp.MustCompile(` n=(\d+)$`)
	for line := range strings.Lines(l.String()) {
		n := 1
		if found := number.FindStringSubmatch(strings.TrimSpace(line)); found != nil {
			n, _ = strconv.Atoi(found[1])
		}
		all += n
	}
	return all
}

func TestCountersFlush(t *testing.T) {
	told(t, counters.Config{}, func(t *testing.T, counts *counters.Counters, l *sshtest.Log) {
		counts.Flush() // nothing
		for range 3 {
			counts.Count(counters.Sessions, peer("192.0.2.1"))
		}
		pass(30 * time.Second)
		counts.Flush()
		lines := []string{"addr=192.0.2.1/32 reason=sessions", "addr=192.0.2.1/32 reason=sessions n=2"}
		expect(t, l, lines...)
		for range 2 {
			counts.Count(counters.Sessions, peer("192.0.2.1"))
		}
		pass(time.Minute - 1) // the interval began with the first of them, not with the one before
		expect(t, l, append(lines, lines[0])...)
		pass(1)
		expect(t, l, append(lines, lines[0], lines[0])...)
	})
}

// 200,000 sources leave nothing behind but their number.
func TestCountersManySources(t *testing.T) {
	counts := counters.New(counters.Config{Logger: sshtest.NewLog().Logger(), Interval: time.Hour})
	for i := range 1000 {
		counts.Count(counters.Connections, numbered(i))
	}
	heap := heapInUse()
	for i := range 200_000 {
		counts.Count(counters.Connections, numbered(i))
	}
	if grown := heapInUse() - heap; grown > 1<<16 {
		t.Errorf("200,000 sources take %d bytes", grown)
	}
	if got := counts.Counts()[counters.Connections]; got != 201_000 {
		t.Errorf("counted %d", got)
	}
	counts.Flush()
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestCountersAtOnce(t *testing.T) {
	l := sshtest.NewLog()
	counts := counters.New(counters.Config{Logger: l.Logger(), Interval: time.Hour})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 1000 {
				counts.Count(counters.Connections, numbered(j%50))
				if j%100 == i {
					counts.Flush()
				}
				_ = counts.Counts()
			}
		})
	}
	all.Wait()
	counts.Flush()
	if got := sum(t, l); got != 8000 || counts.Counts()[counters.Connections] != 8000 {
		t.Errorf("told of %d, counted %v, of 8000", got, counts.Counts())
	}
}

func TestCountersNil(t *testing.T) {
	var counts *counters.Counters
	counts.Count(counters.Sessions, peer("192.0.2.1"))
	counts.CountPenalty(penalties.AuthFail, peer("192.0.2.1"))
	counts.Flush()
	if got := counts.Counts(); got != nil {
		t.Errorf("counted %v", got)
	}
}

// The ledger logs blocks. Counters count the connections that they refuse, each under a reason that is listed.
func TestCountPenalty(t *testing.T) {
	told(t, counters.Config{}, func(t *testing.T, counts *counters.Counters, l *sshtest.Log) {
		want := map[counters.Reason]uint64{}
		for i, reason := range []counters.Reason{
			penalties.NoAuth: counters.PenaltyNoAuth, penalties.AuthFail: counters.PenaltyAuthFail,
			penalties.InvalidUser: counters.PenaltyInvalidUser, penalties.GraceExceeded: counters.PenaltyGraceExceeded,
			penalties.Elsewhere: counters.PenaltyElsewhere,
		} {
			for range i + 1 {
				counts.CountPenalty(penalties.Reason(i), peer("192.0.2.1"))
			}
			want[reason] = uint64(i + 1)
		}
		pass(time.Hour)
		expect(t, l)
		if got := counts.Counts(); !maps.Equal(got, want) {
			t.Errorf("counted %v, want %v", got, want)
		}
	})
}

func TestCountersDefaults(t *testing.T) {
	got := counters.New(counters.Config{Interval: -1}).Config
	if want := (counters.Config{Logger: slog.Default(), Interval: time.Minute}); !reflect.DeepEqual(got, want) {
		t.Errorf("the defaults are %+v", got)
	}
}

// BenchmarkCount is what a limit that is reached costs in a flood, from one source and from many.
func BenchmarkCount(b *testing.B) {
	for name, of := range map[string]int{"one source": 1, "many sources": 1 << 16} {
		b.Run(name, func(b *testing.B) {
			peers := make([]net.Addr, of)
			for i := range peers {
				peers[i] = numbered(i)
			}
			counts := counters.New(counters.Config{Logger: sshtest.NewLog().Logger(), Interval: time.Hour})
			defer counts.Flush()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					counts.Count(counters.Connections, peers[i%of])
				}
			})
		})
	}
}

// The list of reasons has each constant once.
func TestReasons(t *testing.T) {
	source, err := os.ReadFile("reason.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []counters.Reason
	for _, match := range regexp.MustCompile(` Reason += "([a-z-]+)"`).FindAllSubmatch(source, -1) {
		want = append(want, counters.Reason(match[1]))
	}
	if len(want) == 0 || !slices.Equal(counters.Reasons, want) {
		t.Errorf("the list has %q, want %q", counters.Reasons, want)
	}
}
