// Package session implements the session channel of SSH (RFC 4254 section 6).
//
// It replaces the channel of charm.land/ssh, which a client can make hang, leak, and mix up the sessions of a connection.
// It implements the same [ssh.Session], so every Wish middleware runs on it unchanged. The differences: each request is
// bounded and answered, a resize or a signal that nobody reads costs nothing and is not lost, each session has its own
// context, a client that does not read its output is disconnected, and [InfoOf] returns what the client requested.
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

// DefaultWriteTimeout is how long a client may leave output unread. Ten seconds are far longer than any network takes,
// and short enough to keep the number of clients that never read small.
const DefaultWriteTimeout = 10 * time.Second

// DefaultLifetime is how long a session may last. A message takes seconds to serve, and nobody reads it for longer.
const DefaultLifetime = 10 * time.Minute

// Channels serves the session channels of one server. The zero value is ready to use.
type Channels struct {
	// WriteTimeout bounds each wait for a client that does not read its output, whether its SSH window or its TCP window
	// is full. After one WriteTimeout the channel is closed, after two the connection. Default: [DefaultWriteTimeout].
	WriteTimeout time.Duration
	// Lifetime is how long a session may last after its channel is opened: [DefaultLifetime] if zero, no limit if
	// negative. At the limit the handler's context ends, the visitor reads a sentence on stderr, and the session ends
	// with exit status 1. A session without a shell, exec or subsystem request ends without the sentence. If the client
	// does not confirm the close within two WriteTimeouts, the connection is closed.
	Lifetime time.Duration
	// Hold is called before the reply to the request that starts the handler, if it is not nil. It may hold back what
	// the server sends on the connection until release is called, which is when the channel is closed.
	Hold func(connection ssh.Context) (release func() error)
	// Ended is called with 1 when the server has ended a session and the client has not confirmed the close, and with -1
	// once that session is over. It may be nil.
	Ended func(connection ssh.Context, n int)
	// Counters counts the sessions that end because of a limit. It may be nil.
	Counters *counters.Counters
	// Open holds the open sessions. Several Channels may share it. Nil stands for one of its own.
	Open *Open

	own Open
}

// Open is the open sessions of a server. The zero value is ready to use.
type Open struct {
	mu         sync.Mutex
	sessions   map[*Session]struct{}
	endingText string // the text that End was called with
}

func (c *Channels) opened() *Open {
	if c.Open != nil {
		return c.Open
	}
	return &c.own
}

// Handle is an [ssh.ChannelHandler]. It returns when both sides have closed the channel and the session's handler has
// returned. A session takes two goroutines, the caller's and the handler's, and one after the handler has returned.
func (c *Channels) Handle(srv *ssh.Server, conn *gossh.ServerConn, newChannel gossh.NewChannel, ctx ssh.Context) {
	s := c.newSession(srv, conn)
	defer s.clock.stop()
	requests, err := s.accept(newChannel, ctx)
	if err != nil {
		return // the connection is closed
	}
	c.opened().add(s)
	defer c.opened().remove(s)
	defer s.tellOver()
	s.serve(requests)
}

// newSession returns a session whose channel is not accepted yet. Its clock is running.
func (c *Channels) newSession(srv *ssh.Server, conn *gossh.ServerConn) *Session {
	s := &Session{srv: srv, conn: conn, counts: c.Counters, hold: c.Hold, told: c.Ended, handlerDone: make(chan struct{})}
	s.clock.timeout = cmp.Or(max(c.WriteTimeout, 0), DefaultWriteTimeout)
	s.clock.lifetime = cmp.Or(c.Lifetime, DefaultLifetime)
	if c.Lifetime < 0 {
		s.clock.lifetime = math.MaxInt64
	}
	s.clock.start(s.checkTimeouts)
	return s
}

// End ends all sessions that are open; see [Open.End].
func (c *Channels) End(text string) int { return c.opened().End(text) }

// End ends all sessions, including those that are accepted later, and returns how many were open. Each handler's
// context ends; then the visitor reads text, a sentence without a line end, on stderr, and the session ends with exit
// status 1. End does not wait for that.
func (o *Open) End(text string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.endingText = text
	for s := range o.sessions {
		go s.end(text, errClosing, "")
	}
	return len(o.sessions)
}

// Len returns how many sessions are open.
func (o *Open) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.sessions)
}

func (o *Open) add(s *Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sessions == nil {
		o.sessions = map[*Session]struct{}{}
	}
	o.sessions[s] = struct{}{}
	if o.endingText != "" { // End was called before
		go s.end(o.endingText, errClosing, "")
	}
}

func (o *Open) remove(s *Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sessions, s)
}
