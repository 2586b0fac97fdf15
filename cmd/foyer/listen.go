package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"

	"foyer/cmd/cli"
)

// listen opens the address. TCP itself notices clients that have vanished, within a few keepalives, and on Linux those
// that leave output unread.
func listen(ctx context.Context, address string, most int, d Deadlines) (net.Listener, error) {
	config := listenConfig(d)
	listener, err := config.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return newSteady(listener, most), nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, cli.With(fmt.Errorf("listen on %s: the port is in use", address), "try another one: foyer --listen :2222")
	case errors.Is(err, syscall.EACCES):
		return nil, cli.With(fmt.Errorf("listen on %s: this user may not", address),
			"ports below 1024 need a capability: setcap cap_net_bind_service=+ep on the foyer binary")
	}
	return nil, fmt.Errorf("listen on %s: %w", address, err)
}

// steady is a listener whose Accept fails for good only when it is closed. "For reliable operation the application
// should detect the network errors defined for the protocol after accept() and treat them like EAGAIN by retrying"
// (accept(2)), or a visitor's lost connection, or memory that is short for a moment, would close the door.
//
// It has no more connections open than it has places, and leaves the others to the kernel meanwhile: the server starts
// a goroutine for each before any layer can refuse it, and those of a flood would pile up where the processor is short.
type steady struct {
	net.Listener
	places chan struct{}
	closed context.Context
	close  context.CancelFunc
}

func newSteady(listener net.Listener, most int) *steady {
	closed, cancel := context.WithCancel(context.Background())
	return &steady{listener, make(chan struct{}, most), closed, cancel}
}

// Close implements [net.Listener].
func (l *steady) Close() error {
	l.close()
	return l.Listener.Close()
}

// Accept implements [net.Listener]. The server waits a while, up to a second, after an error that is temporary.
func (l *steady) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed.Done():
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err == nil {
		return &placed{TCPConn: conn.(*net.TCPConn), places: l.places}, nil
	}
	<-l.places
	if errors.Is(err, net.ErrClosed) {
		return nil, err
	}
	slog.Warn("connection not accepted", "err", err)
	return nil, temporary{err}
}

// placed is a connection that has a place until it is closed.
type placed struct {
	*net.TCPConn
	places <-chan struct{}
	left   sync.Once
}

func (c *placed) Close() error {
	defer c.left.Do(func() { <-c.places })
	return c.TCPConn.Close()
}

type temporary struct{ error }

func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }
