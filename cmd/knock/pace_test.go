package main

import (
	"context"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestClosedLoop: so many visitors at a time, and so many logins.
func TestClosedLoop(t *testing.T) {
	var came, present, most atomic.Int64
	all := make(chan struct{})
	pace{visitors: 4, count: 101}.knock(t.Context(), func(time.Time) bool {
		if now := present.Add(1); now > most.Load() {
			most.Store(now)
		}
		if came.Add(1) == 4 {
			close(all) // all four were here at the same time
		}
		<-all
		present.Add(-1)
		return true
	})
	if came.Load() != 101 || most.Load() > 4 {
		t.Errorf("%d came, %d at a time", came.Load(), most.Load())
	}
}

func TestClosedLoopEnds(t *testing.T) {
	for name, p := range map[string]pace{
		"after its duration": {visitors: 2, duration: 50 * time.Millisecond},
		"when interrupted":   {visitors: 2},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var came atomic.Int64
			p.knock(ctx, func(time.Time) bool {
				if came.Add(1) == 10 && p.duration == 0 {
					cancel()
				}
				return false
			})
			if came.Load() == 0 {
				t.Error("nobody came")
			}
		})
	}
}

// TestOpenLoop: visitors are due at even distances, whenever they get their turn, and nobody is left out.
func TestOpenLoop(t *testing.T) {
	var mu sync.Mutex
	var due []time.Time
	p := pace{visitors: 1, rate: 1000, duration: 100 * time.Millisecond}
	waited := p.knock(t.Context(), func(intended time.Time) bool {
		time.Sleep(2 * time.Millisecond) // longer than the distance: a queue
		mu.Lock()
		defer mu.Unlock()
		due = append(due, intended)
		return true
	})
	slices.SortFunc(due, time.Time.Compare)
	if len(due) != 100 || waited < 50 {
		t.Fatalf("%d came, %d waited", len(due), waited)
	}
	for i := range due {
		if got := due[i].Sub(due[0]); got != time.Duration(i)*time.Millisecond {
			t.Errorf("visitor %d was due after %s", i, got)
		}
	}
}

// TestClosedLoopCount: no more begin than are to come.
func TestClosedLoopCount(t *testing.T) {
	var came atomic.Int64
	pace{visitors: math.MaxInt, count: 25}.knock(t.Context(), func(time.Time) bool { came.Add(1); return true })
	if came.Load() != 25 {
		t.Errorf("%d came", came.Load())
	}
}

// TestDue: however rarely they come, nobody is due in the past.
func TestDue(t *testing.T) {
	for _, tt := range []struct {
		pace pace
		want time.Duration
	}{
		{pace{rate: 4}, time.Second / 4},
		{pace{rate: 4, duration: time.Second / 8}, time.Second / 8},
		{pace{rate: 1e-12, duration: time.Second}, time.Second},
		{pace{rate: 1e-300}, math.MaxInt64},
	} {
		if got := tt.pace.due(1); got != tt.want {
			t.Errorf("at %g a second, for %s: %s", tt.pace.rate, tt.pace.duration, got)
		}
	}
}

func TestOpenLoopCount(t *testing.T) {
	var came atomic.Int64
	p := pace{visitors: 10, rate: 10_000, count: 25}
	if waited := p.knock(t.Context(), func(time.Time) bool { came.Add(1); return true }); came.Load() != 25 || waited > 25 {
		t.Errorf("%d came, %d waited", came.Load(), waited)
	}
}

// TestOpenLoopEnds: the last visitor has as much time as the others, or there would be more logins a second than were
// asked for, and who is still there then is waited for.
func TestOpenLoopEnds(t *testing.T) {
	const second = time.Second
	for _, tt := range []struct {
		name  string
		pace  pace
		stay  time.Duration // of each visitor
		leave time.Duration // when an interrupt comes, or 0
		took  time.Duration
	}{
		{"after its duration", pace{rate: 1, duration: second}, 0, 0, second},
		{"after its count", pace{rate: 2, count: 3}, 0, 0, 3 * second / 2},
		{"after its count, which is less", pace{rate: 2, count: 3, duration: second * 9}, 0, 0, 3 * second / 2},
		{"after its duration, which is less", pace{rate: 2, count: 99, duration: 5 * second / 4}, 0, 0, 5 * second / 4},
		{"with the last visitor", pace{rate: 1, count: 2}, 5 * second, 0, 6 * second},
		{"when interrupted", pace{rate: 1, count: 1, duration: time.Hour}, 0, second / 4, second / 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.leave > 0 {
					time.AfterFunc(tt.leave, cancel)
				}
				tt.pace.visitors = 9
				start := time.Now()
				tt.pace.knock(ctx, func(time.Time) bool { time.Sleep(tt.stay); return true })
				if took := time.Since(start); took != tt.took {
					t.Errorf("it took %s, want %s", took, tt.took)
				}
			})
		})
	}
}

// TestOpenLoopInterrupted: who waits for a turn leaves.
func TestOpenLoopInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var came atomic.Int64
	pace{visitors: 1, rate: 1000}.knock(ctx, func(time.Time) bool {
		came.Add(1)
		time.AfterFunc(20*time.Millisecond, cancel)
		<-ctx.Done()
		return true
	})
	if came.Load() != 1 {
		t.Errorf("%d came", came.Load())
	}
}

func TestPaceDefaults(t *testing.T) {
	for _, tt := range []struct{ in, want pace }{
		{pace{}, pace{visitors: 8, duration: 10 * time.Second}},
		{pace{count: 5}, pace{visitors: 8, count: 5}},
		{pace{rate: 5}, pace{visitors: 1000, duration: 10 * time.Second, rate: 5}},
		{pace{rate: 5, visitors: 3, duration: 1, count: 2}, pace{rate: 5, visitors: 3, duration: 1, count: 2}},
	} {
		if err := tt.in.complete(); err != nil || tt.in != tt.want {
			t.Errorf("%+v, %v", tt.in, err)
		}
	}
}

// TestStall is what an open loop is for: a server that stands still for 300 ms once keeps all waiting who come in that
// time, and the figures have to show it, though a single visitor sees it but once.
func TestStall(t *testing.T) {
	const stall = 300 * time.Millisecond
	for _, tt := range []struct {
		name string
		pace pace
		sees bool
	}{
		{"open, one visitor at a time", pace{visitors: 1, rate: 100, count: 120}, true},
		{"open, many at a time", pace{visitors: 1000, rate: 100, count: 120}, true},
		{"closed", pace{visitors: 1, count: 120}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var door sync.Mutex
			var came atomic.Int64
			f := (&fake{accept: func(net.Conn) bool {
				door.Lock()
				defer door.Unlock()
				if came.Add(1) == 20 {
					time.Sleep(stall)
				}
				return true
			}}).open(t)
			m, err := measure(t.Context(), f.door(t), tt.pace, newRecord())
			if err != nil || m.verdict() != nil {
				t.Fatalf("%v, %v", err, m.record.reasons)
			}
			whole := percentilesOf(m.record.histograms[wholeLogin])
			if whole.Max < 280 {
				t.Errorf("max is %g ms", whole.Max)
			}
			if sees := whole.P99 > 200; sees != tt.sees {
				t.Errorf("p99 is %g ms", whole.P99)
			}
		})
	}
}

// TestBehind: knock says when it could not keep the pace, and what to do.
func TestBehind(t *testing.T) {
	f := (&fake{accept: func(net.Conn) bool { time.Sleep(30 * time.Millisecond); return true }}).open(t)
	got := knock(t, f.target(), "--open", "--rate", "200", "-c", "1", "-n", "10")
	if got.status != 0 || !contains(got.stdout, "note: knock did not keep the pace", "found all visitors busy", "-c too low") {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
	if kept := knock(t, f.target(), "--open", "--rate", "5", "-n", "3"); contains(kept.stdout, "visitors busy") {
		t.Errorf("nobody had to wait for another:\n%s", kept.stdout)
	}

	for _, tt := range []struct {
		late   time.Duration
		behind bool
	}{{0, false}, {9 * time.Millisecond, false}, {11 * time.Millisecond, true}} {
		m := &measurement{record: newRecord(), elapsed: time.Second}
		for range 100 {
			m.record.add(result{intended: m.record.began, late: tt.late})
		}
		report := newLoginReport(f.door(t), pace{visitors: 1, rate: 100}, m)
		if said := slices.ContainsFunc(report.notes(), func(note string) bool { return strings.Contains(note, "did not keep") }); said != tt.behind {
			t.Errorf("logins that are %s late: %q", tt.late, report.notes())
		}
	}
}
