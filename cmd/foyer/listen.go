package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
)

// listen opens the address. TCP itself notices clients that have vanished, within a few keepalives, and on Linux those
// that leave output unread.
func listen(ctx context.Context, address string, d Deadlines) (net.Listener, error) {
	config := listenConfig(d)
	listener, err := config.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return steady{listener}, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, hinted{fmt.Errorf("listen on %s: the port is in use", address), "try another one: foyer --listen :2222"}
	case errors.Is(err, syscall.EACCES):
		return nil, hinted{fmt.Errorf("listen on %s: this user may not", address),
			"ports below 1024 need a capability: setcap cap_net_bind_service=+ep on the foyer binary"}
	}
	return nil, fmt.Errorf("listen on %s: %w", address, err)
}

// steady is a listener whose Accept fails for good only when it is closed. "For reliable operation the application
// should detect the network errors defined for the protocol after accept() and treat them like EAGAIN by retrying"
// (accept(2)), or a visitor's lost connection, or memory that is short for a moment, would close the door.
type steady struct{ net.Listener }

// Accept implements [net.Listener]. The server waits a while, up to a second, after an error that is temporary.
func (l steady) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil || errors.Is(err, net.ErrClosed) {
		return conn, err
	}
	slog.Warn("connection not accepted", "err", err)
	return nil, temporary{err}
}

type temporary struct{ error }

func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }
