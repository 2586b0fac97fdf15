package penalties_test

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"runtime"
	"testing"
	"time"

	"foyer/middleware/penalties"
)

// nth returns one of very many IPv6 sources.
func nth(i int) netip.Prefix {
	addr := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	binary.BigEndian.PutUint32(addr[4:], uint32(i))
	return netip.PrefixFrom(netip.AddrFrom16(addr), 64)
}

// table is a table whose calls take seconds and fail the test where they return what is not wanted.
type table struct {
	*penalties.Table
	t *testing.T
}

func newTable(t *testing.T, limit int) table {
	return table{penalties.NewTable(15*time.Second, 10*time.Minute, limit), t}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (t table) add(now float64, source int, penalty, block float64, ended ...penalties.Ended) {
	t.t.Helper()
	gotBlock, gotEnded := t.Add(seconds(now), nth(source), seconds(penalty), penalties.AuthFail)
	if gotBlock != seconds(block) || !reflect.DeepEqual(gotEnded, ended) {
		t.t.Errorf("at %gs source %d: Add returned %s and %v, want %gs and %v", now, source, gotBlock, gotEnded, block, ended)
	}
}

func (t table) refuse(now float64, source int, refused bool, ended ...penalties.Ended) {
	t.t.Helper()
	_, gotRefused, gotEnded := t.Refuse(seconds(now), nth(source))
	if gotRefused != refused || !reflect.DeepEqual(gotEnded, ended) {
		t.t.Errorf("at %gs source %d: Refuse returned %t and %v, want %t and %v", now, source, gotRefused, gotEnded, refused, ended)
	}
}

func TestTableAccumulates(t *testing.T) {
	tab := newTable(t, 10)
	for range 3 {
		tab.add(0, 1, 5, 0)
		tab.refuse(0, 1, false)
	}
	tab.add(0, 1, 5, 20) // 15 is not more than 15
	tab.refuse(0, 1, true)
	tab.refuse(0, 2, false)
	tab.add(1, 1, 5, 0)       // a connection that was open: the block lasts longer, and does not begin again
	tab.refuse(24.9, 1, true) // down to the last of it, though it owes less than the minimum
	tab.refuse(25, 1, false, penalties.Ended{Source: nth(1), Refused: 2})
	tab.refuse(25, 1, false) // which is said once
	tab.add(25, 1, 5, 0)     // from nothing again
	if got := tab.Len(); got != 1 {
		t.Errorf("%d sources in the table", got)
	}
}

func TestTableRunsOut(t *testing.T) {
	tab := newTable(t, 10)
	for i := range 100 { // for ever at the minimum
		tab.add(5*float64(i), 1, 5, 0)
	}
	tab.add(500, 2, 15, 0)
	tab.add(504, 2, 4, 0) // 11 + 4
	tab.add(504, 2, 0.5, 15.5)
}

func TestTableMaximum(t *testing.T) {
	tab := newTable(t, 10)
	tab.add(0, 1, 3600, 600)
	tab.add(0, 2, 10, 0)
	tab.add(0, 2, 595, 600)
	for range 1000 {
		tab.add(1, 1, 5, 0)
	}
	tab.refuse(600.9, 1, true, penalties.Ended{Source: nth(2)})
	tab.refuse(601, 1, false, penalties.Ended{Source: nth(1), Refused: 1})
}

func TestTableMakesRoom(t *testing.T) {
	tab := newTable(t, 3)
	tab.add(0, 1, 10, 0)
	tab.add(0, 2, 5, 0)
	tab.add(0, 3, 16, 16)
	tab.add(1, 4, 1, 0) // is the soonest done itself
	tab.add(1, 1, 6, 0) // owes 9 and 6
	tab.add(1, 5, 5, 0) // in the place of 2, not of the block, which would be done sooner than 1
	tab.add(1, 1, 1, 16)
	tab.add(1, 5, 11, 16)
	tab.refuse(1, 3, true)
	tab.add(2, 6, 10, 0) // no room among blocks
	tab.add(2, 6, 10, 0)
	tab.add(2, 6, 16, 16, penalties.Ended{Source: nth(3), Refused: 1, Early: true}) // but for one that lasts longer
	tab.add(2, 1, 5, 0)
	tab.add(2, 5, 5, 0)
	tab.add(2, 6, 5, 0)
	tab.add(2, 7, 19, 0) // which this one does not
	tab.refuse(2, 7, false)
	if got := tab.Len(); got != 3 {
		t.Errorf("%d sources in the table", got)
	}
}

// An attacker with three times a /48 can neither grow the table nor get their block, or somebody else's, out of it.
func TestTableUnderAFlood(t *testing.T) {
	const limit, flood = 1 << 16, 200_000
	tab := newTable(t, limit)
	goroutines, before := runtime.NumGoroutine(), heapInUse()
	tab.add(0, flood, 20, 20)
	for i := range flood {
		tab.Add(seconds(float64(i)/20_000), nth(i), 10*time.Second, penalties.GraceExceeded)
	}
	tab.refuse(19.9, flood, true)
	if got := tab.Len(); got > limit {
		t.Errorf("%d sources in a table for %d", got, limit)
	}
	if grown := (heapInUse() - before) / limit; grown > 240 {
		t.Errorf("a source takes %d bytes", grown)
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines, %d before", got, goroutines)
	}
	for i := range limit { // others come, and the table is rid of those that are done
		tab.Refuse(seconds(60), nth(flood+1+i))
	}
	if got := tab.Len(); got != 0 {
		t.Errorf("%d sources are left", got)
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // frees what the first one found finalizers on
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Whatever happens to it, in whatever order, the table has no more sources than it may, refuses only those that it has
// said are blocked, and says of each that it is not any more.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 20, 1, 1, 20, 0, 2, 20, 0, 3, 20, 0, 0, 0, 200})
	f.Add([]byte{1, 16, 0, 1, 0, 0, 2, 255, 9, 3, 255, 9, 4, 255, 9, 5, 255, 9, 1, 0, 90})
	f.Fuzz(func(t *testing.T, calls []byte) {
		tab := penalties.NewTable(15*time.Second, time.Minute, 3)
		blocked := map[netip.Prefix]bool{}
		var now time.Duration
		for ; len(calls) >= 3; calls = calls[3:] {
			source, penalty := nth(int(calls[0])), time.Duration(calls[1])*time.Second
			now += time.Duration(calls[2]) * time.Second / 10
			var ended []penalties.Ended
			var refused bool
			var block time.Duration
			if penalty > 0 {
				block, ended = tab.Add(now, source, penalty, penalties.NoAuth)
			} else {
				_, refused, ended = tab.Refuse(now, source)
			}
			for _, e := range ended {
				if !blocked[e.Source] {
					t.Fatalf("the end of a block of %s, which had none", e.Source)
				}
				delete(blocked, e.Source)
			}
			if block > 0 {
				if blocked[source] || block <= 15*time.Second || block > time.Minute {
					t.Fatalf("%s blocked for %s, before: %t", source, block, blocked[source])
				}
				blocked[source] = true
			}
			if penalty == 0 && refused != blocked[source] {
				t.Fatalf("refused %s: %t", source, refused)
			}
			if tab.Len() > 3 {
				t.Fatalf("%d sources in the table", tab.Len())
			}
		}
	})
}

// At capacity, each call of Add pushes a source out.
func BenchmarkTableFull(b *testing.B) {
	const limit = 1 << 16
	fill := func() (*penalties.Table, time.Duration) {
		tab := penalties.NewTable(15*time.Second, 10*time.Minute, limit)
		for i := range limit {
			tab.Add(time.Duration(i), nth(i), 5*time.Second, penalties.AuthFail)
		}
		tab.Add(limit, nth(0), 15*time.Second, penalties.AuthFail)
		return tab, limit
	}
	b.Run("Add", func(b *testing.B) {
		tab, now := fill()
		for b.Loop() {
			now++
			tab.Add(now, nth(int(now)), 5*time.Second, penalties.AuthFail)
		}
	})
	b.Run("Refuse", func(b *testing.B) {
		tab, now := fill()
		for b.Loop() {
			if _, refused, _ := tab.Refuse(now, nth(0)); !refused {
				b.Fatal("let in")
			}
		}
	})
	b.Run("Admit", func(b *testing.B) {
		tab, now := fill()
		for b.Loop() {
			if _, refused, _ := tab.Refuse(now, nth(limit)); refused {
				b.Fatal("refused")
			}
		}
	})
}
