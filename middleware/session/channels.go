// Package session is foyer's own session channel (RFC 4254 section 6): the place where a visitor's requests arrive
// and from which a visitor is answered.
//
// It stands in for the channel of charm.land/ssh, which can be made to hang, to leak and to mix up the sessions of
// a connection, and implements the same [ssh.Session], so that every Wish middleware runs on it unchanged. What is
// different: each request is bounded and answered, a resize or a signal that nobody reads costs nothing and is not
// lost, each session has a context of its own, output that nobody reads ends, and a session knows what was asked of
// it ([Of]).
package session

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
)

// DefaultWriteTimeout is how long a client may leave output unread. Ten seconds are far longer than any network
// takes, and short enough that clients which never read cannot pile up.
const DefaultWriteTimeout = 10 * time.Second

// DefaultLifetime is how long a session may last: what is served here takes seconds, and nobody reads for longer.
const DefaultLifetime = 10 * time.Minute

// Channels serves the session channels of one server, and knows which are open. The zero value is ready to use.
type Channels struct {
	// WriteTimeout bounds each wait for a client that does not read its output, be it for its window or for TCP.
	// After one WriteTimeout the channel is closed, after two the connection. Default: [DefaultWriteTimeout].
	WriteTimeout time.Duration
	// Lifetime is how long a session may last, from the opening of its channel. Then the visitor is told, in a sentence
	// on stderr, and the session ends with exit status 1; one that has asked for nothing yet ends without a word. Who
	// has not confirmed the close after two WriteTimeouts more loses the connection. Default: [DefaultLifetime].
	Lifetime time.Duration
	// Counters counts the sessions that were ended because of a limit, if it is not nil.
	Counters *counters.Counters

	mu       sync.Mutex
	places   int                   // taken by sessions that are open or about to be
	open     map[*Session]struct{} // those that can be told something
	draining chan struct{}         // not nil once no more are taken; closed when the last place is free
	words    string                // what End said
}

// Register makes c the server's session channel. It is an [ssh.Option], and an error where the channel is taken.
func (c *Channels) Register(srv *ssh.Server) error {
	if srv.ChannelHandlers == nil {
		srv.ChannelHandlers = map[string]ssh.ChannelHandler{}
	}
	if srv.ChannelHandlers["session"] != nil {
		return errors.New("the session channel is taken")
	}
	srv.ChannelHandlers["session"] = c.Handle
	return nil
}

// Handle is an [ssh.ChannelHandler]. It returns when the channel is closed on both sides and the handler that
// served it is done. Until then it takes two goroutines, the caller's and the handler's, and one of them once that is
// done.
func (c *Channels) Handle(srv *ssh.Server, conn *gossh.ServerConn, newChannel gossh.NewChannel, ctx ssh.Context) {
	s := c.newSession(srv, conn)
	defer s.clock.stop()
	if !c.takePlace() {
		s.clock.begin(sendingReply)
		_ = newChannel.Reject(gossh.ResourceShortage, "this server is closing, please come back later")
		return
	}
	defer c.leave(s)
	requests, err := s.open(newChannel, ctx)
	if err != nil {
		return // the client is gone
	}
	c.enter(s)
	s.serve(requests)
}

// newSession returns a session whose channel is yet to be opened. Its clock runs.
func (c *Channels) newSession(srv *ssh.Server, conn *gossh.ServerConn) *Session {
	s := &Session{srv: srv, conn: conn, counts: c.Counters}
	s.clock.timeout = cmp.Or(max(c.WriteTimeout, 0), DefaultWriteTimeout)
	s.clock.lifetime = cmp.Or(max(c.Lifetime, 0), DefaultLifetime)
	s.clock.start(s.ring)
	return s
}

// Drain refuses new sessions from now on, and returns when those that are open have closed or ctx is done, with
// ctx's error. A session counts until its client has confirmed the close: whatever was said to it has arrived.
func (c *Channels) Drain(ctx context.Context) error {
	c.mu.Lock()
	drained := c.refuse()
	c.mu.Unlock()
	return wait(ctx, drained)
}

// End is Drain for sessions that have had their time: they end now, each with words, a sentence without a line end, on
// its stderr and with exit status 1. A client that reads nothing keeps no other waiting, nor End for longer than ctx;
// what is left then ends with its connection.
func (c *Channels) End(ctx context.Context, words string) error {
	c.mu.Lock()
	drained := c.refuse()
	c.words = words
	for s := range c.open {
		go s.end(words, errClosing, "")
	}
	c.mu.Unlock()
	return wait(ctx, drained)
}

func wait(ctx context.Context, drained <-chan struct{}) error {
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refuse takes no more sessions from now on, and returns what is closed when those that are open have ended.
func (c *Channels) refuse() <-chan struct{} {
	if c.draining == nil {
		c.draining = make(chan struct{})
		c.free()
	}
	return c.draining
}

// takePlace counts a new session; it reports false where no more are taken.
func (c *Channels) takePlace() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining != nil {
		return false
	}
	c.places++
	return true
}

func (c *Channels) enter(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[*Session]struct{}{}
	}
	c.open[s] = struct{}{}
	if c.words != "" { // End has missed it
		go s.end(c.words, errClosing, "")
	}
}

func (c *Channels) leave(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, s)
	c.places--
	c.free()
}

// free tells those who wait for the last place to be free.
func (c *Channels) free() {
	if c.draining != nil && c.places == 0 {
		close(c.draining)
	}
}
