package main

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A closed loop makes so many logins at a time, and so many in all.
func TestClosedLoop(t *testing.T) {
	var started, running, most atomic.Int64
	all := make(chan struct{})
	load{concurrency: 4, count: 101}.run(t.Context(), func(time.Time) bool {
		if now := running.Add(1); now > most.Load() {
			most.Store(now)
		}
		if started.Add(1) == 4 {
			close(all)
		}
		<-all // until four run at the same time
		running.Add(-1)
		return true
	})
	if started.Load() != 101 || most.Load() > 4 {
		t.Errorf("%d logins, %d at a time", started.Load(), most.Load())
	}
}

func TestClosedLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var logins atomic.Int64
		load{concurrency: 2, duration: 950 * time.Millisecond}.run(ctx, func(time.Time) bool {
			logins.Add(1)
			time.Sleep(100 * time.Millisecond)
			return true
		})
		if logins.Load() != 20 {
			t.Errorf("%d logins", logins.Load())
		}
		load{concurrency: 2}.run(ctx, func(time.Time) bool { cancel(); return false })
	})
}

// The intended starts of an open loop are evenly spaced, even if logins have to wait, and no login is left out.
func TestOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, next := time.Now(), time.Duration(0)
		l := load{concurrency: 1, rate: 1000, duration: 100 * time.Millisecond}
		queued := l.run(t.Context(), func(intended time.Time) bool {
			if got := intended.Sub(start); got != next {
				t.Errorf("intended after %s, want %s", got, next)
			}
			next += time.Millisecond
			time.Sleep(2 * time.Millisecond)
			return true
		})
		if next != l.duration || queued != 99 {
			t.Errorf("logins until %s, %d queued", next, queued)
		}
	})
}

// The last login has as long as the others, and what is still running is waited for.
func TestOpenLoopEnds(t *testing.T) {
	const second = time.Second
	for _, tt := range []struct {
		name   string
		load   load
		login  time.Duration // how long each takes
		cancel time.Duration // after how long, or 0
		want   time.Duration
	}{
		{"duration", load{rate: 1, duration: second}, 0, 0, second},
		{"count", load{rate: 2, count: 3}, 0, 0, 3 * second / 2},
		{"count before duration", load{rate: 2, count: 3, duration: second * 9}, 0, 0, 3 * second / 2},
		{"duration before count", load{rate: 2, count: 99, duration: 5 * second / 4}, 0, 0, 5 * second / 4},
		{"slow login", load{rate: 1, count: 2}, 5 * second, 0, 6 * second},
		{"interrupted", load{rate: 1, count: 1, duration: time.Hour}, 0, second / 4, second / 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.cancel > 0 {
					time.AfterFunc(tt.cancel, cancel)
				}
				tt.load.concurrency = 9
				start := time.Now()
				tt.load.run(ctx, func(time.Time) bool { time.Sleep(tt.login); return true })
				if took := time.Since(start); took != tt.want {
					t.Errorf("it took %s, want %s", took, tt.want)
				}
			})
		})
	}
}

// Logins that wait for a slot do not start after an interrupt.
func TestOpenLoopInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var logins atomic.Int64
	load{concurrency: 1, rate: 1000}.run(ctx, func(time.Time) bool {
		logins.Add(1)
		time.AfterFunc(20*time.Millisecond, cancel)
		<-ctx.Done()
		return true
	})
	if logins.Load() != 1 {
		t.Errorf("%d logins", logins.Load())
	}
}

func TestLoadDefaults(t *testing.T) {
	for _, tt := range []struct{ in, want load }{
		{load{}, load{concurrency: 8, duration: 10 * time.Second}},
		{load{count: 5}, load{concurrency: 8, count: 5}},
		{load{rate: 5, duration: 1, count: 2}, load{concurrency: 8, rate: 5, duration: 1, count: 2}},
	} {
		if err := tt.in.complete(newSettings()); err != nil || tt.in != tt.want {
			t.Errorf("%+v, %v", tt.in, err)
		}
	}
}

// The report says that the rate was not kept, and why.
func TestQueued(t *testing.T) {
	f := new(fake).open(t)
	got := knock(t, f.target(), "--open", "--rate", "100000", "-c", "1", "-n", "50")
	got.check(t, 0, "asked for 100,000", "note: ", "had to wait: the server is slower than the rate")
}
