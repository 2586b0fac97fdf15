package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// held returns a holding of n connections at f.
func (f *fake) held(t *testing.T, n int64, wait waiter) *holding {
	return &holding{door: f.door(t), record: newRecord(), asked: n, wait: wait}
}

var waiters = map[string]waiter{"hold": authenticated, "preauth": silent}

func TestHold(t *testing.T) {
	for mode, wait := range waiters {
		t.Run(mode, func(t *testing.T) {
			f := new(fake).open(t)
			h := f.held(t, 20, wait)
			if err := h.hold(t.Context(), 4, 0); err != nil {
				t.Fatal(err)
			}
			if h.verdict() != nil || h.opened != 20 || h.interrupted || h.record.failures != 0 {
				t.Errorf("%d open, %d dropped: %v", h.opened, h.dropped, h.record.reasons)
			}
		})
	}
}

// TestDropped: connections that the server ends while they are held are counted.
func TestDropped(t *testing.T) {
	for mode, wait := range waiters {
		t.Run(mode, func(t *testing.T) {
			f := new(fake).open(t)
			h := f.held(t, 10, wait)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			over := make(chan error)
			go func() { over <- h.hold(ctx, 4, time.Hour) }()
			until(t, func() bool { return h.open.Load() == 10 })
			if n := f.hangUp(); n != 10 {
				t.Errorf("the server had %d", n)
			}
			until(t, func() bool { return h.open.Load() == 0 })
			cancel()
			if err := <-over; err != nil {
				t.Fatal(err)
			}
			if h.dropped != 10 || h.verdict() == nil || !h.interrupted {
				t.Errorf("%d dropped, interrupted %t", h.dropped, h.interrupted)
			}
		})
	}
}

// TestHeldBeyondTimeout: the time-out is for opening, and not for being held.
func TestHeldBeyondTimeout(t *testing.T) {
	for mode, wait := range waiters {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := new(fake).open(t).held(t, 2, wait)
			h.door.timeout = time.Second
			if err := h.hold(t.Context(), 2, 1200*time.Millisecond); err != nil || h.verdict() != nil || h.held < time.Second {
				t.Errorf("%d open, %d dropped after %s: %v, %v", h.opened, h.dropped, h.held, h.record.reasons, err)
			}
		})
	}
}

// TestHoldInterrupted: what knock ends itself was not dropped.
func TestHoldInterrupted(t *testing.T) {
	h := new(fake).open(t).held(t, 20, authenticated)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan error)
	go func() { over <- h.hold(ctx, 4, time.Hour) }()
	until(t, func() bool { return h.open.Load() == 20 })
	cancel()
	if err := <-over; err != nil || h.dropped != 0 || !h.interrupted {
		t.Errorf("%d dropped, interrupted %t, %v", h.dropped, h.interrupted, err)
	}
}

// until waits for what will be.
func until(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never was")
		}
	}
}

func TestHoldReport(t *testing.T) {
	f := (&fake{accept: func(conn net.Conn) bool {
		_, _ = conn.Write([]byte("Full up.\r\n"))
		return false
	}}).open(t)
	for mode := range waiters {
		got := knock(t, mode, "3", f.target(), "--open", "--for", "0s")
		if got.status != 1 || !contains(got.stdout, "0 of 3 connections opened", "3 failed", "3  the server said: Full up.") {
			t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
		}
	}
	f = new(fake).open(t)
	got := knock(t, "hold", "50", f.target(), "--open", "--for", "0s", "--json", "--pid", strconv.Itoa(os.Getpid()))
	var report holdReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.status != 0 {
		t.Fatalf("status %d, %v:\n%s%s", got.status, err, got.stdout, got.stderr)
	}
	m := report.Memory
	if report.Opened != 50 || m == nil || m.Each == nil || *m.Each != float64(m.Held-m.Before)/50 {
		t.Errorf("%s", got.stdout)
	}
}

// TestPreauthAsksForNothing: who says nothing needs no password.
func TestPreauthAsksForNothing(t *testing.T) {
	t.Setenv(passwordVariable, "")
	f := (&fake{password: "secret"}).open(t)
	if got := knock(t, "preauth", "1", f.target(), "--for", "0s"); got.status != 0 {
		t.Errorf("status %d: %s", got.status, got.stderr)
	}
}
