package main

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The connections that a listener accepts inherit how long they may leave output unread.
func TestUnreadIsTheKernelsConcern(t *testing.T) {
	listener, err := listen(t.Context(), "127.0.0.1:0", Deadlines{Unread: 3 * time.Second, Keepalive: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if limit, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err != nil || limit != 3000 {
			t.Errorf("an accepted connection has a timeout of %d ms, %v", limit, err)
		}
	})
}
