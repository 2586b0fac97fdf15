package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// listen opens an address: host:port, or unix:PATH. The kernel then notices TCP clients that have vanished within a few
// keepalives, and on Linux also those that leave output unread.
func listen(ctx context.Context, address string, slots *slots, d Deadlines) (*retryListener, error) {
	if path, isSocket := strings.CutPrefix(address, "unix:"); isSocket {
		listener, err := listenUnix(ctx, path)
		if err != nil {
			return nil, err
		}
		return newRetryListener(listener, slots), nil
	}
	config := listenConfig(d)
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return newRetryListener(listener, slots), nil
}

// listenUnix opens a socket. It replaces the socket of a server that was killed. Every user who can enter its directory can
// connect.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close()
			return nil, syscall.EADDRINUSE
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(path)
		}
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", path)
	if err == nil {
		err = os.Chmod(path, 0o666)
	}
	return listener, err
}

// slots bounds the connections that are open. The server starts a goroutine for each connection before any layer can refuse
// it, and those of a flood would pile up.
type slots struct {
	mu          sync.Mutex
	used, limit int
	changed     chan struct{} // closed when a slot may be free; nil if nobody waits
}

// take waits for a free slot. It returns false if closed is closed first.
func (s *slots) take(closed <-chan struct{}) bool {
	for {
		s.mu.Lock()
		if s.used < s.limit {
			s.used++
			s.mu.Unlock()
			return true
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-closed:
			return false
		}
	}
}

func (s *slots) free() { s.change(func() { s.used-- }) }

func (s *slots) setLimit(limit int) { s.change(func() { s.limit = limit }) }

func (s *slots) change(how func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// maxRetry is how long Accept waits at most before it tries again.
const maxRetry = time.Second

// retryListener is a listener whose Accept fails only when it is closed: a connection that is lost before it is accepted, or
// memory that is short for a moment, would otherwise end the server. accept(2): "For reliable operation the application
// should detect the network errors defined for the protocol after accept() and treat them like EAGAIN by retrying."
//
// It leaves connections in the kernel's backlog while there is no free slot.
type retryListener struct {
	net.Listener
	slots  *slots
	closed context.Context
	close  context.CancelFunc
}

func newRetryListener(listener net.Listener, slots *slots) *retryListener {
	closed, cancel := context.WithCancel(context.Background())
	return &retryListener{listener, slots, closed, cancel}
}

// Close implements [net.Listener].
func (l *retryListener) Close() error {
	l.close()
	return l.Listener.Close()
}

// Accept implements [net.Listener].
func (l *retryListener) Accept() (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, maxRetry) {
		if l.closed.Err() != nil || !l.slots.take(l.closed.Done()) {
			return nil, net.ErrClosed
		}
		conn, err := l.Listener.Accept()
		if err == nil {
			return &slotConn{halfCloser: conn.(halfCloser), slots: l.slots}, nil
		}
		l.slots.free()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		slog.Warn("connection not accepted", "err", err)
		select {
		case <-time.After(wait):
		case <-l.closed.Done():
		}
	}
}

// halfCloser is a connection of TCP or of a Unix socket.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// slotConn is a connection that has a slot until it is closed.
type slotConn struct {
	halfCloser
	slots *slots
	once  sync.Once
}

// RemoteAddr implements [net.Conn]. A client of a Unix socket has no address; the socket's path says where it has come in.
func (c *slotConn) RemoteAddr() net.Addr {
	if local, ok := c.LocalAddr().(*net.UnixAddr); ok {
		return local
	}
	return c.halfCloser.RemoteAddr()
}

// Close implements [net.Conn].
func (c *slotConn) Close() error {
	defer c.once.Do(c.slots.free)
	return c.halfCloser.Close()
}
