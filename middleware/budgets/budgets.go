// Package budgets counts what one connection makes the server do, and says when that is too much.
package budgets

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"foyer/middleware/eventlog/counters"
)

// The budgets of one connection.
const (
	// maxKeyExchanges is how many key exchanges there may be in a minute, the first one included. Each costs a signature and
	// a Diffie-Hellman exchange, and clients want another one after a gigabyte or an hour (RFC 4253 section 9).
	maxKeyExchanges = 10
	// maxGlobalRequests is how many global requests there may be in a minute: a keepalive each second, and as many again.
	maxGlobalRequests = 120
	// maxChannelOpens is how many channels other than sessions may be asked for in a minute. All are refused, and a browser
	// behind ssh -D finds out in no more tries.
	maxChannelOpens = 60
	// maxBeforeAuth is how many bytes a client may send before it is authenticated, with what x/crypto remembers of its
	// attempts: thirty RSA keys of 2 KiB, the largest there are, offered and proven; two KEXINITs of 35,000 bytes, which RFC
	// 4253 section 6.1 has everybody accept; and a fifth more.
	maxBeforeAuth = 256 << 10
	// maxUnread is how many bytes it may send afterwards that no session reads: the window of one session, which a client
	// with a file to send fills at once, and as much again. Packets that nobody wants count as well.
	maxUnread = 4 << 20
	// maxUnreadTotal is how many bytes all connections together may have sent that no session reads. Beyond it, a
	// connection with more than fairUnread is over its budget.
	maxUnreadTotal = 128 << 20
	fairUnread     = 64 << 10
)

// ErrExceeded is what is over a budget fails with.
var ErrExceeded = errors.New("connection exceeded its budget")

// Budgets are what the connections of a server share. The zero value is ready to use.
type Budgets struct {
	unread atomic.Int64
}

// Connection counts for one connection, which is not authenticated at first.
type Connection struct {
	shared *Budgets

	mu                                   sync.Mutex
	unread, limit                        int64 // bytes that no session has read, and how many there may be; 0 once it is over
	keyExchanges, requests, channelOpens perMinute
}

// Connection returns what counts for a new connection.
func (b *Budgets) Connection() *Connection { return &Connection{shared: b, limit: maxBeforeAuth} }

// Authenticated forgives what was sent so far.
func (c *Connection) Authenticated() { c.settle(maxUnread) }

// Closed notes that the connection is over: what it left unread is no longer in memory.
func (c *Connection) Closed() { c.settle(0) }

func (c *Connection) settle(limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shared.unread.Add(-c.unread)
	c.unread = 0
	if c.limit > 0 { // a connection that is over stays so
		c.limit = limit
	}
}

// Received counts n bytes that the client has sent, or that are kept because of what it has sent. It returns
// [counters.Received] where they are too many, and else "", as the other methods do with their reasons.
func (c *Connection) Received(n int) counters.Reason {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit == 0 {
		return ""
	}
	c.unread += int64(n)
	total := c.shared.unread.Add(int64(n))
	if c.unread > c.limit || total > maxUnreadTotal && c.unread > fairUnread {
		return counters.Received
	}
	return ""
}

// Read takes back n bytes that a session has read, and an eighth more for the packets around them.
func (c *Connection) Read(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	read := min(int64(n+n/8), c.unread)
	c.unread -= read
	c.shared.unread.Add(-read)
}

// KeyExchange counts one.
func (c *Connection) KeyExchange() counters.Reason {
	return c.spend(&c.keyExchanges, maxKeyExchanges, counters.KeyExchanges)
}

// GlobalRequest counts one.
func (c *Connection) GlobalRequest() counters.Reason {
	return c.spend(&c.requests, maxGlobalRequests, counters.GlobalRequests)
}

// ChannelOpen counts a channel other than a session.
func (c *Connection) ChannelOpen() counters.Reason {
	return c.spend(&c.channelOpens, maxChannelOpens, counters.ChannelOpens)
}

func (c *Connection) spend(m *perMinute, limit int, reason counters.Reason) counters.Reason {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.count() > limit {
		return reason
	}
	return ""
}

// perMinute counts what happens in a minute.
type perMinute struct {
	began time.Time
	n     int
}

func (m *perMinute) count() int {
	if now := time.Now(); now.Sub(m.began) >= time.Minute {
		m.began, m.n = now, 0
	}
	m.n++
	return m.n
}
