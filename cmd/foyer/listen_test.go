package main

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
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

// What goes wrong with one connection, or for a moment, does not close the door (accept(2), "Error handling").
func TestAcceptGoesOn(t *testing.T) {
	listener := &failing{errs: []error{syscall.EPROTO, syscall.ENOBUFS, syscall.EMFILE, syscall.EHOSTUNREACH, net.ErrClosed}}
	listener.Listener, _ = net.Listen("tcp", "127.0.0.1:0")
	srv := &ssh.Server{HostSigners: []ssh.Signer{sshtest.HostKey(t)}}
	if err := srv.Serve(newSteady(listener, 1)); !errors.Is(err, net.ErrClosed) || len(listener.errs) > 0 {
		t.Errorf("serving ended with %v, before %v", err, listener.errs)
	}
}

// A port can be had again at once, although connections to it linger.
func TestListen(t *testing.T) {
	for range 2 {
		listener, err := listen(t.Context(), "127.0.0.1:0", 2, Deadlines{Unread: time.Second, Keepalive: time.Second})
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
		again, err := listen(t.Context(), address, 2, Deadlines{Unread: time.Second, Keepalive: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		_ = again.Close()
	}
}

// No more connections are open than there are places, and those that close make room for those that wait.
func TestListenHasPlaces(t *testing.T) {
	const places, visitors = 3, 20
	listener, err := listen(t.Context(), "127.0.0.1:0", places, Deadlines{Unread: time.Second, Keepalive: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for range visitors {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	var open, most, came atomic.Int32
	var all sync.WaitGroup
	for came.Load() < visitors {
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		came.Add(1)
		most.Store(max(most.Load(), open.Add(1)))
		all.Go(func() {
			runtime.Gosched()
			open.Add(-1)
			_, _ = conn.Close(), conn.Close() // the second one makes no more room
		})
	}
	all.Wait()
	if most.Load() > places {
		t.Errorf("%d connections were open", most.Load())
	}
	for range places { // nobody leaves
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := listener.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	time.AfterFunc(10*time.Millisecond, func() { _ = listener.Close() })
	for range 2 {
		if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed listener accepts with %v", err)
		}
	}
}
