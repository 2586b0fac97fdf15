package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listen opens the address. TCP itself notices clients that have vanished, within a few keepalives, and on Linux those
// that leave output unread.
func listen(ctx context.Context, address string, d Deadlines) (net.Listener, error) {
	config := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: d.Keepalive, Interval: d.Keepalive, Count: 3},
		Control: func(_, _ string, conn syscall.RawConn) error {
			return endUnread(conn, d.Unread)
		},
	}
	listener, err := config.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, hinted{fmt.Errorf("listen on %s: the port is in use", address), "try another one: foyer --listen :2222"}
	case errors.Is(err, syscall.EACCES):
		return nil, hinted{fmt.Errorf("listen on %s: this user may not", address),
			"ports below 1024 need a capability: setcap cap_net_bind_service=+ep on the foyer binary"}
	}
	return nil, fmt.Errorf("listen on %s: %w", address, err)
}
