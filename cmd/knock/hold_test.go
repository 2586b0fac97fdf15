package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

var modes = map[string]connector{"hold": connectIdle, "preauth": connectSilent}

func TestHold(t *testing.T) {
	for mode := range modes {
		t.Run(mode, func(t *testing.T) {
			f := new(fake).open(t)
			m := knockJSON(t, 0, mode, "20", f.target(), "--open", "--for", "0s", "-c", "4", "--pid", idleProcess(t))
			if m.Mode != mode || m.Logins != 20 || m.Dropped != 0 || m.Usage == nil {
				t.Errorf("%+v", m)
			}
			knock(t, mode, "2", f.target(), "--open", "--for", "0s").check(t, 0, "2 connections opened in ", "0 dropped")
		})
	}
}

// A server may send lines before its version (RFC 4253, section 4.2).
func TestHoldLinesBeforeVersion(t *testing.T) {
	for mode := range modes {
		f := (&fake{accept: func(conn net.Conn) bool {
			_, _ = conn.Write([]byte("Welcome.\r\n\r\nA long line: " + strings.Repeat("x", 200) + "\r\nNot SSH-2.0.\r\n"))
			return true
		}}).open(t)
		knock(t, mode, "5", f.target(), "--open", "--for", "0s").check(t, 0, "5 connections opened")
	}
}

// endless sends lines and never a version.
type endless struct{ net.Conn }

func (endless) Read(p []byte) (int, error) { return copy(p, "Welcome.\r\n"), nil }

func TestReadVersionEnds(t *testing.T) {
	if err := newConn(endless{}).readVersion(); !errors.Is(err, errNoVersion) {
		t.Error(err)
	}
}

// Connections that the server closes are counted.
func TestDropped(t *testing.T) {
	for mode, connect := range modes {
		t.Run(mode, func(t *testing.T) {
			f := new(fake).open(t)
			h := &holding{server: f.server(t), record: newRecord(), connect: connect}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan int64)
			go func() {
				m, _ := h.run(ctx, 10, time.Hour)
				done <- m.Dropped
			}()
			eventually(t, func() bool { return h.open.Load() == 10 })
			eventually(t, func() bool { f.closeAll(); return h.open.Load() == 0 })
			cancel()
			if dropped := <-done; dropped != 10 {
				t.Errorf("%d dropped", dropped)
			}
		})
	}
}

// The timeout is for opening a connection, not for holding it.
func TestHoldLongerThanTimeout(t *testing.T) {
	for mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			knock(t, mode, "2", new(fake).open(t).target(), "--open", "--timeout", "1s", "--for", "1200ms").check(t, 0)
		})
	}
}

// What knock closes itself was not dropped.
func TestHoldInterrupted(t *testing.T) {
	h := &holding{server: new(fake).open(t).server(t), record: newRecord(), connect: connectIdle}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for h.open.Load() < 20 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	m, err := h.run(ctx, 20, time.Hour)
	if err != nil || m.Logins != 20 || m.Dropped != 0 || !m.Interrupted {
		t.Errorf("%+v, %v", m, err)
	}
}

// If no connection was opened there is nothing to hold; otherwise this test would take an hour.
func TestNothingOpened(t *testing.T) {
	for mode := range modes {
		f := (&fake{accept: refuseAll}).open(t)
		got := knock(t, mode, "3", f.target(), "--open", "--for", "1h")
		got.check(t, 1, "0 connections opened", " failed: key exchange: ", "error: not every login succeeded")
	}
}

func TestServerSendsNothing(t *testing.T) {
	f := (&fake{accept: sendNothing}).open(t)
	knock(t, "preauth", "3", f.target(), "--timeout", "300ms").check(t, 1, "3 failed: key exchange: timed out\n")
}

// preauth needs no password.
func TestPreauthWithoutPassword(t *testing.T) {
	t.Setenv(passwordVariable, "")
	knock(t, "preauth", "1", (&fake{password: "secret"}).open(t).target(), "--for", "0s").check(t, 0)
}
