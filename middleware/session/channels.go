// Package session is foyer's own session channel (RFC 4254 section 6): the place where a visitor's requests arrive
// and from which a visitor is answered.
//
// It stands in for the channel of charm.land/ssh, which can be made to hang, to leak and to mix up the sessions of
// a connection, and implements the same [ssh.Session], so that every Wish middleware runs on it unchanged. What is
// different: each request is bounded and answered, a resize or a signal that nobody reads costs nothing and is not
// lost, each session has a context of its own, output that nobody reads ends, and a session knows what was asked of
// it ([InfoOf]).
package session

import (
	"cmp"
	"math"
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

// Channels serves the session channels of one server. The zero value is ready to use.
type Channels struct {
	// WriteTimeout bounds each wait for a client that does not read its output, whether its SSH window is closed or TCP's.
	// After one WriteTimeout the channel is closed, after two the connection. Default: [DefaultWriteTimeout].
	WriteTimeout time.Duration
	// Lifetime is how long a session may last, from the opening of its channel: [DefaultLifetime] if zero, without a limit if
	// negative. Then the handler's context ends, the visitor reads a sentence on stderr, and the session ends with exit
	// status 1; one that has asked for nothing yet ends without a word. If the client does not confirm the close within two
	// WriteTimeouts, the connection is closed.
	Lifetime time.Duration
	// Counters counts the sessions that are ended because of a limit. It may be nil.
	Counters *counters.Counters

	mu    sync.Mutex
	open  map[*Session]struct{}
	words string // what End says
}

// Handle is an [ssh.ChannelHandler]. It returns when the channel is closed on both sides and the handler that served it is
// done. Until then it takes two goroutines, the caller's and the handler's, and one of them once that is done.
func (c *Channels) Handle(srv *ssh.Server, conn *gossh.ServerConn, newChannel gossh.NewChannel, ctx ssh.Context) {
	s := c.newSession(srv, conn)
	defer s.clock.stop()
	requests, err := s.accept(newChannel, ctx)
	if err != nil {
		return // the client is gone
	}
	c.enter(s)
	defer c.leave(s)
	s.serve(requests)
}

// newSession returns a session whose channel is yet to be accepted. Its clock runs.
func (c *Channels) newSession(srv *ssh.Server, conn *gossh.ServerConn) *Session {
	s := &Session{srv: srv, conn: conn, counts: c.Counters, handled: make(chan struct{})}
	s.clock.timeout = cmp.Or(max(c.WriteTimeout, 0), DefaultWriteTimeout)
	s.clock.lifetime = cmp.Or(c.Lifetime, DefaultLifetime)
	if c.Lifetime < 0 {
		s.clock.lifetime = math.MaxInt64
	}
	s.clock.start(s.ring)
	return s
}

// End ends all sessions, also those that are accepted later, and returns how many there were. Each handler's context ends;
// then the visitor reads words, a sentence without a line end, on stderr, and the session ends with exit status 1. It does
// not wait for that.
func (c *Channels) End(words string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.words = words
	for s := range c.open {
		go s.end(words, errClosing, "")
	}
	return len(c.open)
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
}
