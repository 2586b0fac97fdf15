package middleware_test

import (
	"io"
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

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// door returns a server of these layers to which no port leads, only wires.
func door(t testing.TB, layers ...middleware.Layer) *ssh.Server {
	t.Helper()
	srv := &ssh.Server{Version: "foyer"}
	srv.AddHostKey(sshtest.HostKey(t))
	if err := middleware.NewStack(layers...).Install(srv); err != nil {
		t.Fatal(err)
	}
	return srv
}

// wire is the client's end of a connection in memory. In a bubble of testing/synctest time is then the test's own, and
// a goroutine that somebody leaves behind fails the test.
type wire struct {
	net.Conn
	toClient *half
	hungUp   chan struct{} // closed when the server has nothing more to do with the connection
}

// newWire connects to srv. The wire is cut with the test.
func newWire(t testing.TB, srv *ssh.Server) *wire {
	toServer, toClient := newHalf(), newHalf()
	w := &wire{&end{in: toClient, out: toServer}, toClient, make(chan struct{})}
	go func() {
		defer close(w.hungUp)
		srv.HandleConn(&end{in: toServer, out: toClient, peer: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50000}})
	}()
	t.Cleanup(func() { _ = w.Close(); <-w.hungUp })
	return w
}

// over reports whether the server has hung up, once all that can happen now has happened.
func (w *wire) over() bool {
	synctest.Wait()
	return w.isOver()
}

// isOver is over outside of a bubble.
func (w *wire) isOver() bool {
	select {
	case <-w.hungUp:
		return true
	default:
		return false
	}
}

// greet exchanges keys and asks for authentication.
func (w *wire) greet(t testing.TB) *sshtest.Raw {
	t.Helper()
	c := sshtest.NewRaw(w)
	if err := beAsked(c); err != nil {
		t.Fatal(err)
	}
	return c
}

// enter is greet of a client that is let in without proof.
func (w *wire) enter(t testing.TB) *sshtest.Raw {
	t.Helper()
	c := w.greet(t)
	if in, err := c.Attempt("guest", "ssh-connection", "none", nil); !in || err != nil {
		t.Fatalf("let in: %t, error %v", in, err)
	}
	return c
}

// client is x/crypto's on the wire.
func (w *wire) client(t testing.TB) *gossh.Client {
	t.Helper()
	return w.clientOf(t, gossh.Config{})
}

func (w *wire) clientOf(t testing.TB, algorithms gossh.Config) *gossh.Client {
	t.Helper()
	conn, channels, requests, err := gossh.NewClientConn(w, "", &gossh.ClientConfig{
		Config: algorithms, User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return gossh.NewClient(conn, channels, requests)
}

// end is one end of a wire.
type end struct {
	in, out *half
	peer    *net.TCPAddr
}

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }
func (e *end) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 22} }
func (e *end) RemoteAddr() net.Addr        { return e.peer }

// CloseWrite is [net.TCPConn]'s.
func (e *end) CloseWrite() error { e.out.close(writer); return nil }

func (e *end) SetDeadline(at time.Time) error {
	_ = e.SetReadDeadline(at)
	return e.SetWriteDeadline(at)
}

func (e *end) SetReadDeadline(at time.Time) error  { e.in.setDeadline(reader, at); return nil }
func (e *end) SetWriteDeadline(at time.Time) error { e.out.setDeadline(writer, at); return nil }

func (e *end) Close() error {
	e.in.close(reader)
	e.out.close(writer)
	return nil
}

// half is one direction of a wire.
type half struct {
	changed *sync.Cond
	data    []byte
	room    int // how many bytes are underway at most, as on a TCP connection whose peer does not read
	closed  [2]bool
	late    [2]bool
	timers  [2]*time.Timer
}

const (
	reader = iota
	writer
)

func newHalf() *half { return &half{changed: sync.NewCond(&sync.Mutex{}), room: 64 << 10} }

// update changes h under its lock and wakes who waits for that.
func (h *half) update(f func()) {
	h.changed.L.Lock()
	defer h.changed.L.Unlock()
	f()
	h.changed.Broadcast()
}

func (h *half) close(side int) {
	h.setDeadline(side, time.Time{})
	h.update(func() { h.closed[side] = true })
}

func (h *half) setDeadline(side int, at time.Time) {
	h.update(func() {
		if h.timers[side] != nil {
			h.timers[side].Stop()
		}
		h.late[side] = false
		if !at.IsZero() {
			h.timers[side] = time.AfterFunc(time.Until(at), func() { h.update(func() { h.late[side] = true }) })
		}
	})
}

// failed returns the error of whoever reads or writes on, in the net package's form.
func (h *half) failed(side int) error {
	switch {
	case h.closed[side]:
		return &net.OpError{Op: "use", Net: "wire", Err: net.ErrClosed}
	case h.late[side]:
		return &net.OpError{Op: "use", Net: "wire", Err: os.ErrDeadlineExceeded}
	case side == writer && h.closed[reader]:
		return &net.OpError{Op: "use", Net: "wire", Err: syscall.EPIPE}
	}
	return nil
}

func (h *half) read(p []byte) (n int, err error) {
	h.changed.L.Lock()
	defer h.changed.L.Unlock()
	for {
		switch err := h.failed(reader); {
		case err != nil:
			return 0, err
		case len(h.data) > 0:
			n := copy(p, h.data)
			h.data = slices.Delete(h.data, 0, n)
			h.changed.Broadcast()
			return n, nil
		case h.closed[writer]:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (h *half) write(p []byte) (n int, err error) {
	h.changed.L.Lock()
	defer h.changed.L.Unlock()
	for n < len(p) {
		if err := h.failed(writer); err != nil {
			return n, err
		}
		if fits := min(h.room-len(h.data), len(p)-n); fits > 0 {
			h.data = append(h.data, p[n:n+fits]...)
			n += fits
			h.changed.Broadcast()
			continue
		}
		h.changed.Wait()
	}
	return n, nil
}
