// Package budgets counts the work that a connection causes, and reports when it is too much.
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
	// maxKeyExchanges is how many key exchanges a minute may have, including the first one. Each takes a signature and a
	// Diffie-Hellman exchange. Clients start one after a gigabyte or an hour (RFC 4253 section 9).
	maxKeyExchanges = 10
	// maxGlobalRequests is how many global requests a minute may have: a keepalive each second, twice.
	maxGlobalRequests = 120
	// maxChannelOpens is how many channels other than sessions a client may open in a minute. All are refused, and a
	// browser that uses ssh -D needs fewer attempts to notice.
	maxChannelOpens = 60
	// maxBeforeAuth is how many bytes a client may send before it is authenticated, including what x/crypto stores
	// about its attempts. It allows thirty RSA keys of 2 KiB, the largest ones, each offered and proven; two KEXINITs
	// of 35,000 bytes, which every implementation must accept (RFC 4253 section 6.1); and a fifth more.
	maxBeforeAuth = 256 << 10
	// maxUnread is how many bytes that no session reads a client may send afterwards: twice the window of a session,
	// which a client that sends a file fills at once. Unwanted packets count as well.
	maxUnread = 4 << 20
	// maxUnreadTotal is how many bytes that no session reads all clients together may send. Beyond it, a connection with
	// more than fairUnread has exceeded its budget.
	maxUnreadTotal = 128 << 20
	fairUnread     = 64 << 10
)

// ErrExceeded is the error of an operation that exceeds a budget.
var ErrExceeded = errors.New("connection exceeded its budget")

// Budgets holds the total of all connections of a server. The zero value is ready to use.
type Budgets struct {
	// Counters counts the connections that exceed their budget. It may be nil.
	Counters *counters.Counters

	unread atomic.Int64
}

// Connection counts the work of one connection.
type Connection struct {
	shared *Budgets

	mu                                   sync.Mutex
	unread, limit                        int64 // bytes that no session has read, and their limit; 0 once it is closed
	keyExchanges, requests, channelOpens perMinute
}

// Connection returns the counts of a new, unauthenticated connection.
func (b *Budgets) Connection() *Connection { return &Connection{shared: b, limit: maxBeforeAuth} }

// Authenticated resets the number of unread bytes and sets the limit for authenticated clients.
func (c *Connection) Authenticated() { c.reset(maxUnread) }

// Closed records that the connection is closed and its unread bytes are no longer in memory.
func (c *Connection) Closed() { c.reset(0) }

func (c *Connection) reset(limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shared.unread.Add(-c.unread)
	c.unread = 0
	if c.limit > 0 { // not if it is closed
		c.limit = limit
	}
}

// Received counts n bytes that the client has sent, or that the server stores because of it. It returns
// [counters.Received] if they exceed the budget, and "" if not. The other methods return their reasons in the same way.
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

// Read subtracts n bytes that a session has read, and an eighth more for the overhead of their packets.
func (c *Connection) Read(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	read := min(int64(n+n/8), c.unread)
	c.unread -= read
	c.shared.unread.Add(-read)
}

// KeyExchange counts a key exchange.
func (c *Connection) KeyExchange() counters.Reason {
	return c.spend(&c.keyExchanges, maxKeyExchanges, counters.KeyExchanges)
}

// GlobalRequest counts a global request.
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

// perMinute counts events within a minute.
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
