package server

import (
	"math"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The connections that a listener accepts inherit how their clients' silence ends, as far as the kernel can count.
func TestConnectionsInherit(t *testing.T) {
	for _, tt := range []struct {
		Deadlines
		keepalive, unread int
	}{
		{Deadlines{Unread: 3 * time.Second, Keepalive: 7 * time.Second}, 7, 3000},
		{Deadlines{Unread: 1500 * time.Hour, Keepalive: 10 * time.Hour}, 32767, math.MaxInt32},
		{Deadlines{Unread: time.Microsecond, Keepalive: time.Second}, 1, 1},
	} {
		inherits(t, tt.Deadlines, []option{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, tt.keepalive},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, tt.keepalive},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepalives},
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, tt.unread},
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		})
	}
}

type option struct{ level, name, want int }

func inherits(t *testing.T, d Deadlines, options []option) {
	t.Helper()
	listener, err := listen(t.Context(), "127.0.0.1:0", &slots{limit: 2}, d)
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
	raw, err := conn.(*slotConn).halfCloser.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for _, option := range options {
			if got, err := unix.GetsockoptInt(int(fd), option.level, option.name); err != nil || got != option.want {
				t.Errorf("%+v: option %d is %d, %v, want %d", d, option.name, got, err, option.want)
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
}
