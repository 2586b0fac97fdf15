package main

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endUnread has the kernel end connections whose client leaves what it was sent unacknowledged, or its window shut, for
// longer than limit. Those that the listener accepts inherit it.
func endUnread(conn syscall.RawConn, limit time.Duration) error {
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
