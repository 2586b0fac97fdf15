package main

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The connections that a listener accepts inherit how their clients' silence ends.
func TestConnectionsInherit(t *testing.T) {
	listener, err := listen(t.Context(), "127.0.0.1:0", 2, Deadlines{Unread: 3 * time.Second, Keepalive: 7 * time.Second})
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
	raw, err := conn.(*placed).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		for _, option := range []struct{ level, name, want int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 7},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 7},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepalives},
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 3000},
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		} {
			if got, err := unix.GetsockoptInt(int(fd), option.level, option.name); err != nil || got != option.want {
				t.Errorf("option %d is %d, %v, want %d", option.name, got, err, option.want)
			}
		}
	})
}
