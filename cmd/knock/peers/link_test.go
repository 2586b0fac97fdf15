package main

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"foyer/cmd/knock/peers/turns"
)

// answer listens for one visitor, who asks five bytes for each answer, and hangs up after the last.
func answer(t *testing.T, answers ...string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		question := make([]byte, 5)
		for _, answer := range answers {
			_, _ = io.ReadFull(conn, question)
			_, _ = io.WriteString(conn, answer)
		}
		_ = conn.Close()
	}()
	return listener.Addr().String()
}

// What goes over a link arrives whole, both ends learn that it is over, and it is recorded who had how long a turn.
func TestLink(t *testing.T) {
	l, err := openLink(t.Context(), answer(t, "none", "ever so long"), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", l.address())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "first")
	first := make([]byte, 4)
	if _, err := io.ReadFull(conn, first); err != nil || string(first) != "none" {
		t.Errorf("the first answer is %q, %v", first, err)
	}
	_, _ = io.WriteString(conn, "again")
	if rest, err := io.ReadAll(conn); err != nil || string(rest) != "ever so long" {
		t.Errorf("the second answer is %q, %v", rest, err)
	}
	_ = conn.Close()
	l.close()
	want := turns.Script{{Bytes: 5}, {Server: true, Bytes: 4}, {Bytes: 5}, {Server: true, Bytes: 12}}
	if got := l.script(); !slices.Equal(got, want) {
		t.Errorf("the script is %v, want %v", got, want)
	}
}
