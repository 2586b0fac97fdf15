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
	// corkedFor is how long a packet waits for another one at most. A short session takes microseconds.
	corkedFor = time.Millisecond
	// maxCorked is how many bytes of sessions wait at most, and corkedRoom how many there is room for at first: what ends
	// a key exchange is less, unless it is post-quantum, and so is a short session.
	maxCorked  = 4096
	corkedRoom = 512
)

// Cork returns the layer that sends at once what the server has to say at once, and that the library writes packet by
// packet: what ends the first key exchange (the server's share, SSH_MSG_NEWKEYS and SSH_MSG_EXT_INFO), and a session that is
// soon over (the reply to its request, what the handler says, the status, EOF and the close), or else the end of it. To
// write and to receive a packet costs more than to make it. A login is so one write for each round trip.
//
// Nothing waits for a client: the key exchange's packets go out before the next one is read, and a session's with its
// close, or once its handler asks for input or for a reply. No client waits for longer than a millisecond, whatever else it
// does on the connection meanwhile. What waits counts as sent: that the client does not take it shows in the next write.
//
// In the list it stands after the layers that look at what is written, packet by packet.
func Cork() Layer {
	return Layer{
		Name: "cork",
		Server: func(srv *ssh.Server) error {
			aroundSessions(srv, corkSessions)
			before := srv.SessionRequestCallback
			srv.SessionRequestCallback = func(sess ssh.Session, request string) bool {
				if before != nil && !before(sess, request) {
					return false
				}
				kept[*corked](sess.Context()).cork()
				return true
			}
			return Hooks{Accept: func(ctx ssh.Context, conn net.Conn) net.Conn {
				c := &corked{Conn: conn}
				keep(ctx, c)
				return c
			}}.Add(srv)
		},
	}
}

// corked is a connection on which packets wait for those that follow at once. After the first key exchange something is
// held only as long as a session is talking, or whoever has found that it is not is about to send it.
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
		if len(c.held)+len(p) > maxCorked { // it is not short
			c.talking.Store(false)
		}
		return c.talking.Load()
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
	if c.talking.Swap(true) {
		return // and the millisecond counts from the first time
	}
	if c.release == nil {
		c.release = time.AfterFunc(corkedFor, c.uncork)
	} else {
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

// Close implements [net.Conn]. What was said goes out before, unless a write is stuck, which ends by this.
func (c *corked) Close() error {
	if c.mu.TryLock() {
		if len(c.held) > 0 {
			_ = c.Conn.SetWriteDeadline(time.Now().Add(corkedFor))
			c.flush()
		}
		c.mu.Unlock()
	}
	return c.Conn.Close()
}

func corkSessions(next ssh.ChannelHandler) ssh.ChannelHandler {
	return func(srv *ssh.Server, conn *gossh.ServerConn, opened gossh.NewChannel, ctx ssh.Context) {
		next(srv, conn, accepted{opened, kept[*corked](ctx).channel}, ctx)
	}
}

func (c *corked) channel(accepted gossh.Channel) gossh.Channel { return corkedChannel{accepted, c} }

// corkedChannel corks its connection when the session begins to end, with the status (RFC 4254 section 6.10), and uncorks it
// when it has ended, with the close, and whenever its handler begins to wait for the client.
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
	if c.conn.talking.Swap(false) { // once: who writes may be stuck
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
