package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
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

// greet says lines before the version, as RFC 4253 lets a server do (section 4.2).
func greet(conn net.Conn) bool {
	_, _ = conn.Write([]byte("Welcome.\r\n\r\nThis line is long: " + strings.Repeat("x", 200) + "\r\nNot SSH-2.0.\r\n"))
	return true
}

// TestHoldAfterGreeting: a connection is held from the version on, and not from other lines before it.
func TestHoldAfterGreeting(t *testing.T) {
	for mode, wait := range waiters {
		t.Run(mode, func(t *testing.T) {
			h := (&fake{accept: greet}).open(t).held(t, 5, wait)
			if err := h.hold(t.Context(), 2, 0); err != nil || h.verdict() != nil || h.opened != 5 {
				t.Errorf("%d open, %d dropped: %v, %v", h.opened, h.dropped, h.record.reasons, err)
			}
		})
	}
}

// chatter is a server that never comes to its version.
type chatter struct{ net.Conn }

func (chatter) Read(p []byte) (int, error) { return copy(p, "Welcome.\r\n"), nil }

// TestVersionIsBounded: it is over only if version gives up.
func TestVersionIsBounded(t *testing.T) {
	conn := newWire(chatter{})
	if err := version(conn); !errors.Is(err, errNoVersion) || conn.words() != "Welcome." {
		t.Errorf("%v after %q", err, conn.words())
	}
}

// TestHalfAVersion: the beginning of a version is not what a server has said instead of one.
func TestHalfAVersion(t *testing.T) {
	for said, words := range map[string]string{"S": "", "SSH": "", "SSH-2": "", "SSL": "SSL", "Sorry.\r\nSSH": "Sorry.", "\r\nSS": ""} {
		conn := newWire(nil)
		conn.listen([]byte(said))
		if got := conn.words(); got != words {
			t.Errorf("of %q it has said %q", said, got)
		}
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

// amounts is a meter of memory that says what it is told, and then that the server is gone.
type amounts struct{ bytes []int64 }

func (a *amounts) cpu() (time.Duration, error) { return 0, nil }

func (a *amounts) memory() (int64, error) {
	if len(a.bytes) == 0 {
		return 0, errors.New("there is no process")
	}
	now := a.bytes[0]
	a.bytes = a.bytes[1:]
	return now, nil
}

// TestHeldMemory: what each connection costs is told of those that were open then, and what nobody saw is not told.
func TestHeldMemory(t *testing.T) {
	for _, tt := range []struct {
		name    string
		open    int64
		amounts []int64
		told    string
	}{
		{"all open", 8, []int64{8 << 20, 8 << 20}, "1.0 MiB before, 9.0 MiB once they were open, 8.0 MiB at the end: 1.0 MiB a connection"},
		{"half dropped", 4, []int64{8 << 20}, "1.0 MiB before, 9.0 MiB once they were open, 8.0 MiB at the end: 2.0 MiB a connection"},
		{"all dropped", 0, nil, "1.0 MiB before, 9.0 MiB once they were open"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &holding{door: &door{meter: &amounts{tt.amounts}}, opened: 8}
			h.compare(state{memory: 1 << 20}, state{memory: 9 << 20, open: tt.open})
			if got := h.memory.String(); got != tt.told {
				t.Errorf("%q", got)
			}
		})
	}
	h := &holding{door: &door{meter: &amounts{}}, opened: 8}
	if h.compare(state{memory: 9 << 20}, state{memory: 1 << 20, open: 8}); h.memory.Each != nil {
		t.Errorf("a connection took %g", *h.memory.Each)
	}
}

// TestLook: what a server holds is told with how many are open then, and not with how many ever were.
func TestLook(t *testing.T) {
	h := &holding{door: &door{meter: &amounts{[]int64{5}}}, opened: 1000}
	h.open.Store(512)
	if s, err := h.look(t.Context()); err != nil || s != (state{memory: 5, open: 512}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestNothingOpened: there is nothing to hold, and no figure of it. The test is over in time only if nothing is held.
func TestNothingOpened(t *testing.T) {
	f := (&fake{accept: func(net.Conn) bool { return false }}).open(t)
	for mode := range waiters {
		got := knock(t, mode, "3", f.target(), "--open", "--for", "1h")
		if got.status != 1 || contains(got.stdout, "held for") || contains(got.stdout, "p50") {
			t.Errorf("status %d:\n%s", got.status, got.stdout)
		}
		if !contains(got.stderr, "error: not every connection was opened and kept") {
			t.Errorf("stderr %q", got.stderr)
		}
	}
}

// TestSilentServer: where nobody speaks, no key exchange has timed out.
func TestSilentServer(t *testing.T) {
	f := (&fake{accept: mute}).open(t)
	got := knock(t, "preauth", "3", f.target(), "--timeout", "100ms")
	if got.status != 1 || !contains(got.stdout, "3  the server said nothing\n") {
		t.Errorf("status %d:\n%s", got.status, got.stdout)
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
