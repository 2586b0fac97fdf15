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
	"context"
	"errors"
	"sync"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// DefaultWriteTimeout is how long a client may leave output unread. Ten seconds are far longer than any network
// takes, and short enough that clients which never read cannot pile up.
const DefaultWriteTimeout = 10 * time.Second

// Channels serves the session channels of one server, and knows how many are open. The zero value is ready to use.
type Channels struct {
	// WriteTimeout bounds each wait for a client that does not read its output, be it for its window or for TCP.
	// After one WriteTimeout the channel is closed, after two the connection. Default: [DefaultWriteTimeout].
	WriteTimeout time.Duration

	mu       sync.Mutex
	open     int
	draining chan struct{} // not nil once Drain was called; closed when the last channel has closed
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
// served it is done.
func (c *Channels) Handle(srv *ssh.Server, conn *gossh.ServerConn, newChannel gossh.NewChannel, ctx ssh.Context) {
	// A client that opens channels and reads no answer must not pile them up either.
	unread := time.AfterFunc(2*c.writeTimeout(), func() { _ = conn.Close() })
	defer unread.Stop()
	if !c.enter() {
		_ = newChannel.Reject(gossh.ResourceShortage, "this server is closing, please come back later")
		return
	}
	defer c.leave()
	channel, requests, err := newChannel.Accept()
	unread.Stop()
	if err != nil {
		return // the client is gone
	}
	newSession(srv, conn, channel, ctx, c.writeTimeout()).serve(requests)
}

// Drain refuses new sessions from now on, and returns when those that are open have closed or ctx is done, with
// ctx's error. A session counts until its client has confirmed the close: whatever was said to it has arrived.
func (c *Channels) Drain(ctx context.Context) error {
	c.mu.Lock()
	if c.draining == nil {
		c.draining = make(chan struct{})
		if c.open == 0 {
			close(c.draining)
		}
	}
	drained := c.draining
	c.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter counts a new channel; it reports false where no more are taken.
func (c *Channels) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining != nil {
		return false
	}
	c.open++
	return true
}

func (c *Channels) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.draining != nil && c.open == 0 {
		close(c.draining)
	}
}

func (c *Channels) writeTimeout() time.Duration {
	if c.WriteTimeout > 0 {
		return c.WriteTimeout
	}
	return DefaultWriteTimeout
}
