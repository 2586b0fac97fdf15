package session_test

import (
	"io"
	"testing"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// BenchmarkSession is one whole session of a shell, client and server, from the opening of its channel to its end.
func BenchmarkSession(b *testing.B) {
	w := newWire(b, handler(func(sess ssh.Session) {
		_, _ = io.WriteString(sess, "This session is very simple.  Goodbye!\r\n")
	}), nil)
	b.ReportAllocs()
	for b.Loop() {
		visit(b, w.client)
	}
}

// visit asks for a shell and reads until the channel is closed.
func visit(b *testing.B, client *gossh.Client) {
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		b.Fatal(err)
	}
	if ok, err := channel.SendRequest("shell", true, nil); !ok || err != nil {
		b.Fatal(ok, err)
	}
	if _, err := io.Copy(io.Discard, channel); err != nil {
		b.Fatal(err)
	}
	for range requests { // until the channel is closed
	}
}
