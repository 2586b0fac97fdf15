//go:build !windows

package main

import (
	"errors"
	"foyer/middleware/sshtest"
	"io"
	"os"
	"strings"
	"testing"
)

// TestHostilePenalties repeats each attack until the server refuses its source.
func TestHostilePenalties(t *testing.T) {
	h := startTarget(t, "--log-format", "logfmt")
	for _, attack := range []attack{
		{"wrong passwords", func(a *attacker) {
			c := a.handshaken()
			_, _ = c.Password("guest", "wrong")
			c.halfClose()
		}},
		{"unknown users", func(a *attacker) {
			c := a.handshaken()
			_, _ = c.Password("root", "wrong")
			c.halfClose()
		}},
		{"version lines", func(a *attacker) { a.sendText("SSH-2.0-hostile\r\n") }},
		{"another protocol", func(a *attacker) { a.sendText("\x16\x03\x01\n") }},
	} {
		t.Run(attack.name, func(t *testing.T) {
			h.checkAttack(t, func(a *attacker) {
				sshtest.Eventually(t, "the source is never refused", func() bool { return a.refused() || again(a, attack) })
			})
		})
	}
}

// TestHostileProbes connects and leaves without a byte, as a health check does. It costs no penalty, and writes no line.
func TestHostileProbes(t *testing.T) {
	h := startTarget(t, "--log-format", "logfmt")
	a := newAttacker(t, h)
	for range 100 {
		conn := a.dial()
		_, _ = conn.Read(make([]byte, 1)) // the server has accepted it
		_ = conn.Close()
	}
	h.settle(t)
	if a.refused() {
		t.Error("the source is blocked")
	}
	if text := h.process.log(t); strings.Contains(text, "addr="+a.network) {
		t.Errorf("the log has %s", text)
	}
}

// sendText sends text, and waits until the server disconnects.
func (a *attacker) sendText(text string) {
	conn := a.dial()
	_, _ = io.WriteString(conn, text)
	_ = conn.CloseWrite()
	a.awaitClose(conn, 0)
}

// again runs an attack once more, and returns false.
func again(a *attacker, attack attack) bool {
	attack.run(a)
	return false
}

// refused reports whether the server does not allow the source. It costs no penalty.
func (a *attacker) refused() bool {
	conn := a.dial()
	defer func() { _ = conn.Close() }()
	_ = conn.CloseWrite()
	text, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		a.Error("the server does not disconnect")
	}
	return strings.Contains(string(text), "Not allowed at this time")
}
