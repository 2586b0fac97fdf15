package main

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// TestHostilePenalties has strangers fail again and again until the door does not even greet them any more.
func TestHostilePenalties(t *testing.T) {
	h := openHall(t, "--log-format", "logfmt")
	for _, attack := range []attack{
		{"guesses", func(a *attacker) {
			c := a.asked()
			_, _ = c.Password("guest", "wrong")
			c.quit()
		}},
		{"users that do not exist", func(a *attacker) {
			c := a.asked()
			_, _ = c.Password("root", "wrong")
			c.quit()
		}},
		{"scans", func(a *attacker) { _ = a.dial().Close() }},
		{"greetings", func(a *attacker) { a.say("SSH-2.0-hostile\r\n") }},
		{"noise", func(a *attacker) { a.say("\x16\x03\x01\n") }},
	} {
		t.Run(attack.name, func(t *testing.T) {
			h.withstand(t, func(a *attacker) {
				poll(t, "the source is never refused", func() bool { return a.refused() || again(a, attack) })
			})
		})
	}
}

// say says something and no more.
func (a *attacker) say(text string) {
	conn := a.dial()
	_, _ = io.WriteString(conn, text)
	_ = conn.CloseWrite()
	a.hungUp(conn)
}

// again makes an attack once more, and returns false.
func again(a *attacker, attack attack) bool {
	attack.run(a)
	return false
}

// refused reports whether the door hangs up on this source without a word.
func (a *attacker) refused() bool {
	conn := a.dial()
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(patient))
	_, err := conn.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		a.Error("the door neither greets nor refuses")
	}
	return err != nil
}
