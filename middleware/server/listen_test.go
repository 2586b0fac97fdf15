package server

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"

	"foyer/middleware/sshtest"
)

// failing is a listener that fails a few times before it is closed.
type failing struct {
	net.Listener
	errs []error
}

func (l *failing) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: err}
}

// What goes wrong with one connection, or for a moment, does not end the server (accept(2), "Error handling").
func TestAcceptGoesOn(t *testing.T) {
	listener := &failing{errs: []error{syscall.EPROTO, syscall.ENOBUFS, syscall.EMFILE, syscall.EHOSTUNREACH, net.ErrClosed}}
	var err error
	if listener.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	srv := &ssh.Server{HostSigners: []ssh.Signer{sshtest.HostKey(t)}}
	if err := srv.Serve(newRetryListener(listener, &slots{limit: 1})); !errors.Is(err, net.ErrClosed) || len(listener.errs) > 0 {
		t.Errorf("serving ended with %v, before %v", err, listener.errs)
	}
}

// A port can be had again at once, although connections to it linger.
func TestListen(t *testing.T) {
	for range 2 {
		listener, err := listen(t.Context(), "127.0.0.1:0", &slots{limit: 2}, Deadlines{Unread: time.Second, Keepalive: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		served, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = served.Close() // this side first: its end lingers in TIME_WAIT
		_ = conn.Close()
		_ = listener.Close()
		again, err := listen(t.Context(), address, &slots{limit: 2}, Deadlines{Unread: time.Second, Keepalive: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		_ = again.Close()
	}
}

// No more connections are open than there are slots, and each that closes makes room for one that waits.
func TestListenHasSlots(t *testing.T) {
	const places, visitors = 3, 20
	listener, err := listen(t.Context(), "127.0.0.1:0", &slots{limit: places}, Deadlines{Unread: time.Second, Keepalive: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	for range visitors {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	var open []net.Conn
	for range visitors {
		if len(open) == places {
			_ = open[0].Close()
			open = open[1:]
		}
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	for _, conn := range open {
		_ = conn.Close()
	}
}

// crowd is a listener to which there is always one more connection, until it is closed.
type crowd struct {
	net.Listener
	closed chan struct{}
}

func (c *crowd) Accept() (net.Conn, error) {
	select {
	case <-c.closed:
		return nil, net.ErrClosed
	default:
		return &net.TCPConn{}, nil
	}
}

func (c *crowd) Close() error { close(c.closed); return nil }

// A listener without a free slot accepts nobody until a connection is closed, and returns if it is closed itself.
func TestAcceptWaitsForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places = 3
		listener := newRetryListener(&crowd{closed: make(chan struct{})}, &slots{limit: places})
		accepted, failed := make(chan net.Conn, 100), make(chan error, 1)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					failed <- err
					return
				}
				accepted <- conn
			}
		}()
		for range 5 {
			synctest.Wait()
			if n := len(accepted); n != places {
				t.Fatalf("%d connections are open, want %d", n, places)
			}
			conn := <-accepted
			_, _ = conn.Close(), conn.Close() // the second call frees nothing
		}
		synctest.Wait()
		_ = listener.Close()
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a listener that is closed while it waits accepts with %v", err)
		}
		_ = (<-accepted).Close()
		if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed listener with a free slot accepts with %v", err)
		}
	})
}
