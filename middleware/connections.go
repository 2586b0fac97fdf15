package middleware

import (
	"context"
	"net"
	"sync"
	"time"

	"charm.land/ssh"

	"foyer/middleware/session"
	"foyer/middleware/transport"
)

// connections are all connections of a server, of a stack and of those that it has replaced.
type connections struct {
	sessions        session.Open
	slowDisconnects chan struct{}
	notices         sync.WaitGroup // clients that are being told that the server is closing

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	expected map[net.Conn]struct{} // accepted, and not yet in conns
	draining bool
	refusing bool          // clients that have had no session get none
	drained  chan struct{} // closed when the server is draining and the last connection is over
}

// Handle serves a connection that was accepted before the server was told to stop. It does not wait for it.
func (a *connections) Handle(srv *ssh.Server, conn net.Conn) {
	a.mu.Lock()
	a.expected[conn] = struct{}{}
	a.mu.Unlock()
	go func() {
		defer a.arrived(conn)
		srv.HandleConn(conn)
	}()
}

// arrived records that a connection is in conns, or was refused before.
func (a *connections) arrived(conn net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.expected, conn)
	a.signalDrained()
}

// add registers a connection. It reports false if the server refuses new connections.
func (a *connections) add(c *Conn, conn net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, expected := a.expected[conn]
	delete(a.expected, conn)
	if a.refusing || a.draining && !expected {
		a.signalDrained()
		return false
	}
	a.conns[c] = struct{}{}
	return true
}

func (a *connections) remove(c *Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.conns, c)
	a.signalDrained()
}

// signalDrained closes drained if the server is draining and no connection is left. The caller holds the lock.
func (a *connections) signalDrained() {
	select {
	case <-a.drained:
	default:
		if a.draining && len(a.conns)+len(a.expected) == 0 {
			close(a.drained)
		}
	}
}

func (a *connections) isDraining() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.draining
}

// admits reports whether a connection may open a session: while the server drains, only its first, and not for long.
func (a *connections) admits(first bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.draining || first && !a.refusing
}

// newcomerGrace is how long clients that have had no session may take to get one after the server is told to stop. The
// handshakes of programs that were under way are over by then, so that a restart loses no login.
const newcomerGrace = 2 * time.Second

// Drain returns when all connections are closed, or ctx is done, which needs a deadline. Clients that are about to log in have
// two seconds, or a quarter of the time, for their one session; then those that are not authenticated are told why they are
// not let in. A connection closes with its last session. Sessions may finish until a second before the deadline, or half the
// time; then each reads words, a sentence without a line end, and ends with exit status 1. It returns how many sessions did
// not finish.
func (a *connections) Drain(ctx context.Context, words string) (unfinished int) {
	defer a.notices.Wait()
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	finish, cancel := context.WithDeadline(ctx, deadline.Add(-min(longWait, left/2)))
	defer cancel()
	newcomers, stop := context.WithTimeout(finish, min(newcomerGrace, left/4))
	defer stop()
	a.startDrain()
	if a.Wait(newcomers) == nil {
		return 0
	}
	a.refuseNewcomers()
	if a.Wait(finish) == nil {
		return 0
	}
	unfinished = a.sessions.End(words)
	_ = a.Wait(ctx)
	return unfinished
}

func (a *connections) startDrain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.draining = true
	a.signalDrained()
	for c := range a.conns {
		if c.left() {
			_ = c.Close()
		}
	}
}

// refuseNewcomers ends the connections that have no session yet.
func (a *connections) refuseNewcomers() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusing = true
	for c := range a.conns {
		switch {
		case c.Stage() < Authenticated:
			a.notices.Go(func() { c.Disconnect(transport.ServiceNotAvailable, errClosing.Error()) })
		case c.Sessions() == 0:
			_ = c.Close()
		}
	}
}

// Close closes every connection.
func (a *connections) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		_ = c.Conn.Conn.Close()
	}
}

// Count returns how many connections there are of each stage, and how many sessions.
func (a *connections) Count() (stages [Closed]int, sessions int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		if stage := c.Stage(); stage < Closed {
			stages[stage]++
		}
	}
	return stages, a.sessions.Len()
}

// Wait returns when a draining stack has no connection any more, or with the error of ctx.
func (a *connections) Wait(ctx context.Context) error {
	select {
	case <-a.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
