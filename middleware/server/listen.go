package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
)

// listen opens a TCP address. The kernel then notices clients that have vanished within a few keepalives, and on Linux also
// those that leave output unread.
func listen(ctx context.Context, address string, slots int, d Deadlines) (net.Listener, error) {
	config := listenConfig(d)
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return newRetryListener(listener, slots), nil
}

// retryListener is a listener whose Accept fails for good only when it is closed: a connection that is lost before it is
// accepted, or memory that is short for a moment, would otherwise end the server. accept(2): "For reliable operation the
// application should detect the network errors defined for the protocol after accept() and treat them like EAGAIN by
// retrying."
//
// It has no more connections open than it has slots, and leaves the others in the kernel's backlog. The server starts a
// goroutine for each connection before any layer can refuse it, and those of a flood would pile up.
type retryListener struct {
	net.Listener
	slots  chan struct{}
	closed context.Context
	close  context.CancelFunc
}

func newRetryListener(listener net.Listener, slots int) *retryListener {
	closed, cancel := context.WithCancel(context.Background())
	return &retryListener{listener, make(chan struct{}, slots), closed, cancel}
}

// Close implements [net.Listener].
func (l *retryListener) Close() error {
	l.close()
	return l.Listener.Close()
}

// Accept implements [net.Listener]. The server waits for up to a second after a temporary error.
func (l *retryListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed.Done():
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err == nil {
		return &slotConn{TCPConn: conn.(*net.TCPConn), slots: l.slots}, nil
	}
	<-l.slots
	if errors.Is(err, net.ErrClosed) {
		return nil, err
	}
	slog.Warn("connection not accepted", "err", err)
	return nil, temporaryError{err}
}

// slotConn is a connection that has a slot until it is closed.
type slotConn struct {
	*net.TCPConn
	slots <-chan struct{}
	once  sync.Once
}

// Close implements [net.Conn].
func (c *slotConn) Close() error {
	defer c.once.Do(func() { <-c.slots })
	return c.TCPConn.Close()
}

type temporaryError struct{ error }

func (temporaryError) Timeout() bool   { return false }
func (temporaryError) Temporary() bool { return true }
