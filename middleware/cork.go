package middleware

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

const (
	// corkedFor is how long a packet waits for another one at most. That takes microseconds, unless the client wants new
	// keys in between.
	corkedFor = time.Millisecond
	// maxCorked is how many bytes of a session wait at most, and corkedRoom how many there is room for at first: what ends
	// a key exchange is less, unless it is post-quantum, and so is a short session.
	maxCorked  = 4096
	corkedRoom = 512
)

// Cork returns the layer that sends at once what the server has to say at once, and that the library writes packet by
// packet: what ends the first key exchange (the server's share, SSH_MSG_NEWKEYS and SSH_MSG_EXT_INFO), and a session that is
// soon over (the reply to its request, what the handler says, the status, EOF and the close), or else the end of it. To
// write and to receive a packet costs more than to make it. A login is so one write for each round trip.
//
// Nothing waits for a client, and no client waits: the key exchange's packets go out before the next one is read, and a
// session's with its close, or once its handler asks for input or for a reply; after a millisecond in any case. The layer
// belongs behind those that look at what is written.
func Cork() Layer {
	return Layer{
		Name: "cork",
		Server: func(srv *ssh.Server) error {
			aroundSessions(srv, corkSessions)
			before := srv.SessionRequestCallback
			srv.SessionRequestCallback = func(sess ssh.Session, request string) bool {
				kept[*corked](sess.Context()).cork()
				return before == nil || before(sess, request)
			}
			return Hooks{Accept: func(ctx ssh.Context, conn net.Conn) net.Conn {
				c := &corked{Conn: conn}
				keep(ctx, c)
				return c
			}}.Add(srv)
		},
	}
}

// corked is a connection on which packets wait for those that follow at once.
type corked struct {
	net.Conn

	exchanged atomic.Bool // the first keys
	talking   atomic.Bool // a session is about to say more

	mu      sync.Mutex
	held    []byte
	release *time.Timer
	err     error // why what was held did not go out
}

// Write implements [net.Conn].
func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	last := !c.goesOn(p)
	if last && len(c.held) == 0 {
		return c.Conn.Write(p)
	}
	if c.held == nil {
		c.held = make([]byte, 0, corkedRoom)
	}
	c.held = append(c.held, p...)
	if last {
		c.flush()
	}
	return len(p), c.err
}

// goesOn reports whether another packet follows p at once. Without encryption the type of a message is its sixth byte (RFC
// 4253 section 6).
func (c *corked) goesOn(p []byte) bool {
	const newKeys, reply = 21, 31 // SSH_MSG_NEWKEYS; SSH_MSG_KEX_ECDH_REPLY (RFC 5656 section 7.1), SSH_MSG_KEXDH_REPLY
	if c.exchanged.Load() {
		return c.talking.Load() && len(c.held)+len(p) <= maxCorked
	}
	if len(p) > 5 && (p[5] == newKeys || p[5] == reply) {
		return true
	}
	c.exchanged.Store(len(c.held) > 0) // what is said after those two is the last of it
	return false
}

// Read implements [net.Conn]. After the key exchange it never waits for somebody who writes.
func (c *corked) Read(p []byte) (int, error) {
	if !c.exchanged.Load() {
		c.endExchange()
	}
	return c.Conn.Read(p)
}

// endExchange sends what is held of the key exchange, if anything is: nothing follows at once.
func (c *corked) endExchange() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.exchanged.Load() && len(c.held) > 0 {
		c.exchanged.Store(true)
		c.flush()
	}
}

func (c *corked) flush() {
	held := c.held
	c.held = nil
	_, c.err = c.Conn.Write(held)
}

// cork has packets wait, and uncork sends them.
func (c *corked) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.talking.Swap(true): // a millisecond from the first on is enough
	case c.release == nil:
		c.release = time.AfterFunc(corkedFor, c.uncork)
	default:
		c.release.Reset(corkedFor)
	}
}

func (c *corked) uncork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.talking.Store(false)
	if c.release != nil {
		c.release.Stop()
	}
	if len(c.held) > 0 {
		c.flush()
	}
}

func corkSessions(next ssh.ChannelHandler) ssh.ChannelHandler {
	return func(srv *ssh.Server, conn *gossh.ServerConn, opened gossh.NewChannel, ctx ssh.Context) {
		next(srv, conn, accepted{opened, kept[*corked](ctx).channel}, ctx)
	}
}

func (c *corked) channel(accepted gossh.Channel) gossh.Channel { return corkedChannel{accepted, c} }

// corkedChannel begins to end with the status (RFC 4254 section 6.10), and has ended with the close. What its handler waits
// for, the client may have to be told of.
type corkedChannel struct {
	gossh.Channel
	conn *corked
}

// SendRequest implements [gossh.Channel].
func (c corkedChannel) SendRequest(name string, wantReply bool, payload []byte) (bool, error) {
	switch {
	case wantReply:
		c.conn.uncork()
	case name == "exit-status" || name == "exit-signal":
		c.conn.cork()
	}
	return c.Channel.SendRequest(name, wantReply, payload)
}

// Read implements [gossh.Channel]. It does not wait for somebody who writes.
func (c corkedChannel) Read(p []byte) (int, error) {
	if c.conn.talking.Load() {
		go c.conn.uncork()
	}
	return c.Channel.Read(p)
}

// Close implements [gossh.Channel].
func (c corkedChannel) Close() error {
	err := c.Channel.Close()
	c.conn.uncork()
	return err
}
