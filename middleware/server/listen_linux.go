package server

import (
	"cmp"
	"math"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// keepalives is how many the kernel sends before it gives a client up.
	keepalives = 3
	// maxKeepalive is the longest interval that it takes, in seconds (MAX_TCP_KEEPIDLE).
	maxKeepalive = 32767
)

// listenConfig has the kernel end connections whose client does not answer its keepalives, or leaves what it was sent
// unacknowledged or its window shut for longer than d.Unread. It is said to the listener, whose connections inherit it:
// that saves four calls for each.
func listenConfig(d Deadlines) net.ListenConfig {
	return net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, conn syscall.RawConn) error {
		return setDeadlines(conn, d)
	}}
}

// setDeadlines tells the kernel the deadlines of a TCP listener. It can be called again for connections to come.
func setDeadlines(conn syscall.RawConn, d Deadlines) error {
	seconds := min(max(1, int(d.Keepalive/time.Second)), maxKeepalive)
	unread := int(min(max(1, d.Unread.Milliseconds()), math.MaxInt32)) // 0 would be the kernel's default
	var failed error
	err := conn.Control(func(fd uintptr) {
		set := func(level, option, value int) error { return unix.SetsockoptInt(int(fd), level, option, value) }
		failed = cmp.Or(
			set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
			set(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds),
			set(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds),
			set(unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepalives),
			set(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, unread),
		)
	})
	return cmp.Or(err, failed)
}
