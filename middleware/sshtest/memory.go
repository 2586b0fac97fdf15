package sshtest

import (
	"io"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// MemoryConn is the client's end of a connection in memory. In a bubble of testing/synctest the clock is the test's own,
// and a goroutine that is left behind fails the test.
type MemoryConn struct {
	net.Conn
	ToServer, ToClient *Stream
	Done               chan struct{} // closed when the server has finished with the connection
}

// Connect connects to srv in memory. The connection is closed when the test ends.
func Connect(t testing.TB, srv *ssh.Server) *MemoryConn { return ConnectFrom(t, srv, client) }

// ConnectFrom is [Connect] from an address.
func ConnectFrom(t testing.TB, srv *ssh.Server, client *net.TCPAddr) *MemoryConn {
	c := &MemoryConn{ToServer: newStream(), ToClient: newStream(), Done: make(chan struct{})}
	c.Conn = &memoryEnd{in: c.ToClient, out: c.ToServer, local: client, remote: server}
	go func() {
		defer close(c.Done)
		srv.HandleConn(&memoryEnd{in: c.ToServer, out: c.ToClient, local: server, remote: client})
	}()
	t.Cleanup(func() {
		c.ToClient.Hold(false)
		_ = c.Close()
		<-c.Done
	})
	return c
}

// Login returns x/crypto's client, authenticated as "guest" by the method "none".
func (c *MemoryConn) Login(t testing.TB, algorithms gossh.Config) *gossh.Client {
	t.Helper()
	conn, channels, requests, err := gossh.NewClientConn(c, "", &gossh.ClientConfig{
		Config: algorithms, User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return gossh.NewClient(conn, channels, requests)
}

// Raw returns a raw client that may authenticate.
func (c *MemoryConn) Raw(t testing.TB) *Raw {
	t.Helper()
	raw := NewRaw(c)
	if err := raw.Handshake("SSH-2.0-raw", Curve25519); err != nil {
		t.Fatal(err)
	}
	return raw
}

// RawLogin returns a raw client, authenticated as "guest" by the method "none".
func (c *MemoryConn) RawLogin(t testing.TB) *Raw {
	t.Helper()
	raw := c.Raw(t)
	if in, err := raw.Attempt("guest", "ssh-connection", "none", nil); !in || err != nil {
		t.Fatalf("authenticated: %t, error: %v", in, err)
	}
	return raw
}

// Closed waits until all goroutines of the bubble are blocked, and reports whether the server has closed the connection.
func (c *MemoryConn) Closed() bool {
	synctest.Wait()
	select {
	case <-c.Done:
		return true
	default:
		return false
	}
}

var (
	client = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50000}
	server = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 22}
)

// memoryEnd is one end of a connection in memory.
type memoryEnd struct {
	in, out       *Stream
	local, remote *net.TCPAddr
}

func (e *memoryEnd) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *memoryEnd) Write(p []byte) (int, error) { return e.out.write(p) }
func (e *memoryEnd) LocalAddr() net.Addr         { return e.local }
func (e *memoryEnd) RemoteAddr() net.Addr        { return e.remote }

// CloseWrite is [net.TCPConn]'s.
func (e *memoryEnd) CloseWrite() error { e.out.CloseWrite(); return nil }

func (e *memoryEnd) Close() error {
	e.in.close(reader)
	e.out.close(writer)
	return nil
}

func (e *memoryEnd) SetDeadline(at time.Time) error {
	_ = e.SetReadDeadline(at)
	return e.SetWriteDeadline(at)
}

func (e *memoryEnd) SetReadDeadline(at time.Time) error  { e.in.setDeadline(reader, at); return nil }
func (e *memoryEnd) SetWriteDeadline(at time.Time) error { e.out.setDeadline(writer, at); return nil }

// Stream is one direction of a connection in memory. Each write is a packet, since x/crypto flushes after each. A write
// blocks where 64 KiB are unread, as on a TCP connection whose peer does not read.
type Stream struct {
	changed *sync.Cond
	packets [][]byte
	size    int  // bytes that are not read yet
	room    int  // bytes that may be
	held    bool // the reader receives only
	credits int  // this many packets
	closed  [2]bool
	late    [2]bool
	timers  [2]*time.Timer
}

const (
	reader = iota
	writer
)

func newStream() *Stream { return &Stream{changed: sync.NewCond(&sync.Mutex{}), room: 64 << 10} }

// Hold makes the reader wait for packets until Hold(false), or until [Stream.Step] releases one. Writes do not block any
// more.
func (s *Stream) Hold(on bool) { s.update(func() { s.held, s.room = on, math.MaxInt }) }

// Step releases one packet of a stream that is held, and waits until all goroutines of the bubble are blocked again. It
// reports whether there was a packet.
func (s *Stream) Step() (released bool) {
	synctest.Wait()
	s.update(func() {
		if released = len(s.packets) > 0; released {
			s.credits++
		}
	})
	synctest.Wait()
	return released
}

// Fill makes all writes block.
func (s *Stream) Fill() { s.update(func() { s.room = 0 }) }

// CloseWrite ends the stream: the reader receives the bytes that were written, and then EOF.
func (s *Stream) CloseWrite() { s.close(writer) }

// update changes s under its lock and wakes the goroutines that wait for a change.
func (s *Stream) update(f func()) {
	s.changed.L.Lock()
	defer s.changed.L.Unlock()
	f()
	s.changed.Broadcast()
}

func (s *Stream) close(side int) {
	s.setDeadline(side, time.Time{})
	s.update(func() { s.closed[side] = true })
}

func (s *Stream) setDeadline(side int, at time.Time) {
	s.update(func() {
		if s.timers[side] != nil {
			s.timers[side].Stop()
		}
		s.late[side] = false
		if !at.IsZero() {
			s.timers[side] = time.AfterFunc(time.Until(at), func() { s.update(func() { s.late[side] = true }) })
		}
	})
}

// failed returns the error of the next read or write, or nil.
func (s *Stream) failed(side int) error {
	switch {
	case s.closed[side]:
		return &net.OpError{Op: "use", Net: "memory", Err: net.ErrClosed}
	case s.late[side]:
		return &net.OpError{Op: "use", Net: "memory", Err: os.ErrDeadlineExceeded}
	case side == writer && s.closed[reader]:
		return &net.OpError{Op: "use", Net: "memory", Err: syscall.EPIPE}
	}
	return nil
}

func (s *Stream) read(p []byte) (int, error) {
	s.changed.L.Lock()
	defer s.changed.L.Unlock()
	for {
		switch err := s.failed(reader); {
		case err != nil:
			return 0, err
		case len(s.packets) > 0 && (!s.held || s.credits > 0):
			return s.take(p), nil
		case s.closed[writer] && len(s.packets) == 0:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *Stream) take(p []byte) int {
	n := copy(p, s.packets[0])
	s.size -= n
	if s.packets[0] = s.packets[0][n:]; len(s.packets[0]) == 0 {
		s.packets = s.packets[1:]
		s.credits = max(s.credits-1, 0)
	}
	s.changed.Broadcast()
	return n
}

func (s *Stream) write(p []byte) (n int, err error) {
	s.changed.L.Lock()
	defer s.changed.L.Unlock()
	for n < len(p) {
		if err := s.failed(writer); err != nil {
			return n, err
		}
		if fits := min(s.room-s.size, len(p)-n); fits > 0 {
			s.packets = append(s.packets, slices.Clone(p[n:n+fits]))
			s.size += fits
			n += fits
			s.changed.Broadcast()
			continue
		}
		s.changed.Wait()
	}
	return n, nil
}
