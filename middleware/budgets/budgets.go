// Package work counts what one SSH connection makes the server do, and hangs up where it is too much.
package budgets

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
)

// What one connection may make the server do. Whoever is over a budget is hung up on.
const (
	// maxKeyExchanges is how many there may be in a minute, the first one among them. Each costs a signature and a
	// Diffie-Hellman, and clients want another one after a gigabyte or an hour (RFC 4253 section 9).
	maxKeyExchanges = 10
	// maxGlobalRequests is how many there may be in a minute: a keepalive each second, and as many again.
	maxGlobalRequests = 120
	// maxChannelOpens is how many channels that are no sessions may be asked for in a minute, all in vain: a browser
	// behind ssh -D finds out about as quickly.
	maxChannelOpens = 60
	// maxStrange is how many bytes a client may send before it is authenticated, with what x/crypto remembers of its
	// attempts: thirty keys of 2 KiB, which is the longest RSA there is, shown and proven, two KEXINITs of the 35,000
	// bytes that RFC 4253 section 6.1 has all take, and a fifth more.
	maxStrange = 256 << 10
	// maxUnread is how many bytes it may send afterwards that no session reads: the window of one session, which a client
	// that has a file to send fills at once, and as much again. All else is counted too, packets that nobody wants
	// among it.
	maxUnread = 4 << 20
	// maxUnreadOfAll is how many all connections together may have sent that no session reads. Beyond it whoever has
	// more than a fair part, unreadPart, is hung up on.
	maxUnreadOfAll = 128 << 20
	unreadPart     = 64 << 10
	// maxServiceWait is how long a client may wait for the answer to its service request, once that could be written.
	maxServiceWait = time.Second
)

// errTooMuch is what is read from a connection, and what its key exchange fails with, where it is over a budget.
var errTooMuch = errors.New("more than one connection may ask of the server")

// All is what the connections of a server share.
type All struct {
	// Counters counts those who were hung up on, if it is not nil.
	Counters *counters.Counters

	unread atomic.Int64
}

// Conn is a connection that counts. It is not authenticated at first.
type Conn struct {
	net.Conn
	all *All

	mu                             sync.Mutex
	unread, most                   int64 // bytes that no session has read, and how many there may be; 0 once it is over
	keyExchanges, requests, opened meter
	hungUp                         bool
	leftovers                      leftovers
	served                         chan struct{} // from the first signature to PreAuth, which closes it
}

// Conn returns conn as one that counts.
func (a *All) Conn(conn net.Conn) *Conn { return &Conn{Conn: conn, all: a, most: maxStrange} }

// signed notes that a key exchange is nearly over. After the first one there is little that a client has to say.
func (c *Conn) signed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leftovers == nil && c.served == nil {
		c.most = min(c.most, c.unread+maxBeforeService)
		c.served = make(chan struct{})
	}
}

// PreAuth has to be called when the first key exchange is over, with what x/crypto calls its PreAuthConnCallback with.
func (c *Conn) PreAuth(conn gossh.ServerPreAuthConn) error {
	left, err := leftoversOf(conn)
	if err != nil {
		_ = c.Close()
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leftovers, c.most = left, maxStrange
	if c.served != nil {
		close(c.served)
	}
	return nil
}

// Remembered counts n bytes that are kept of what the client has sent, beside that itself, until it is authenticated.
func (c *Conn) Remembered(n int) {
	if c.receive(int64(n)) {
		c.hangUp(counters.Received)
	}
}

// Authenticated forgives what was sent so far.
func (c *Conn) Authenticated() { c.settle(maxUnread) }

// Over says that the connection is over: what it has left unread is in memory no longer.
func (c *Conn) Over() {
	c.settle(0)
	c.mu.Lock()
	left := c.leftovers
	c.mu.Unlock()
	if left != nil {
		left.take()
	}
}

func (c *Conn) settle(most int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all.unread.Add(-c.unread)
	c.unread = 0
	if c.most > 0 { // what is over stays so
		c.most = most
	}
}

// Read counts what the client sends. A quick client's first attempt to authenticate waits until [Conn.PreAuth] was
// called, which the library does once the client has been told that it may come.
func (c *Conn) Read(p []byte) (int, error) {
	room, wait := c.room(len(p))
	if room == 0 && len(p) > 0 {
		select {
		case <-wait:
		case <-time.After(maxServiceWait):
		}
		room = len(p)
	}
	n, err := c.Conn.Read(p[:room])
	if n > 0 && c.receive(int64(n)) {
		c.hangUp(counters.Received)
		return 0, errTooMuch
	}
	return n, err
}

// room returns how much of n bytes may be read now, and what to wait for if that is nothing.
func (c *Conn) room(n int) (int, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.served == nil || c.leftovers != nil || c.most == 0 {
		return n, nil
	}
	return int(min(int64(n), max(0, c.most-c.unread))), c.served
}

// receive counts n bytes more that no session has read, and reports whether that is too many.
func (c *Conn) receive(n int64) (over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most == 0 {
		return false
	}
	c.unread += n
	all := c.all.unread.Add(n)
	return c.unread > c.most || all > maxUnreadOfAll && c.unread > unreadPart
}

// consume takes back n bytes that a session has read, and an eighth more, which stands for the packets around them.
func (c *Conn) consume(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	read := min(int64(n+n/8), c.unread)
	c.unread -= read
	c.all.unread.Add(-read)
}

// GlobalRequest counts one, and reports whether it may be answered.
func (c *Conn) GlobalRequest() bool {
	return c.spend(&c.requests, maxGlobalRequests, counters.GlobalRequests)
}

// ChannelOpen counts a channel that is no session, and reports whether it may be answered.
func (c *Conn) ChannelOpen() bool { return c.spend(&c.opened, maxChannelOpens, counters.ChannelOpens) }

// spend counts one more in a meter, and hangs up where that is too many in a minute.
func (c *Conn) spend(m *meter, most int, reason counters.Reason) (ok bool) {
	c.mu.Lock()
	ok = m.count() <= most
	c.mu.Unlock()
	if !ok {
		c.hangUp(reason)
	}
	return ok
}

// hangUp counts once: what the client had sent before is still answered for a moment, and all of it is too much.
func (c *Conn) hangUp(reason counters.Reason) {
	c.mu.Lock()
	before := c.hungUp
	c.hungUp = true
	c.mu.Unlock()
	if !before {
		c.all.Counters.Count(reason, c.RemoteAddr())
		_ = c.Close()
	}
}

// meter counts what happens in a minute.
type meter struct {
	began time.Time
	n     int
}

func (m *meter) count() int {
	if now := time.Now(); now.Sub(m.began) >= time.Minute {
		m.began, m.n = now, 0
	}
	m.n++
	return m.n
}
