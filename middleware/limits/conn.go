package limits

import (
	"container/list"
	"time"

	"foyer/middleware/eventlog/counters"
)

// Conn is a connection that a [Table] has let in. It tells the table when its client begins to speak, and when the server
// has exchanged keys with it.
type Conn struct {
	wire
	table  *Table
	source *source
	spoken bool // the reader's

	// Guarded by the table.
	stage          stage
	since          time.Time     // when it came to that stage, or was first heard of there
	silent         *list.Element // in the table's list of those
	place          *list.Element // among its source's, while it is not authenticated
	sessions, ever int
}

// enter takes c into the table.
func (c *Conn) enter() {
	c.table.all[c] = true
	c.source.total++
	c.table.sources[c.source.addr] = c.source
	c.table.waiting.push(c)
}

// leave takes c out of the table. Its descriptor is free a moment later.
func (c *Conn) leave() {
	if c.stage == gone {
		return
	}
	c.move(gone)
	delete(c.table.all, c)
	if c.source.total--; c.source.total == 0 {
		delete(c.table.sources, c.source.addr)
	}
	c.table.free()
}

// move takes c from the stage that it is at to a later one.
func (c *Conn) move(to stage) {
	if c.stage >= to {
		return
	}
	if c.stage < authenticated {
		c.table.waiting.pull(c)
	}
	c.stage = to
	if c.stage < authenticated {
		c.table.waiting.push(c)
	}
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.wire.Read(p)
	if n > 0 && !c.spoken {
		c.spoken = true
		c.heardOf()
	}
	return n, err
}

func (c *Conn) heardOf() {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	if c.stage == arrived {
		c.since = time.Now()
		c.table.waiting.silent.MoveToBack(c.silent)
	}
}

// slow reports whether the client has taken longer than an honest program does.
func (c *Conn) slow() bool { return time.Since(c.since) > soon }

// Banner notes what sends the client an SSH_MSG_USERAUTH_BANNER, which there is once the first key exchange is over.
func (c *Conn) Banner(send func(text string) error) {
	select {
	case c.banner <- send:
	default: // it is known
	}
}

// Authenticated notes that somebody was let in.
func (c *Conn) Authenticated() { c.moveTo(authenticated) }

func (c *Conn) moveTo(to stage) {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	c.move(to)
}

// Closed notes that the connection is over. A second call does nothing.
func (c *Conn) Closed() {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	c.leave()
}

// Open counts a session that the client asks for, and returns the limit that it is over, if it is over one. Whether or
// not it is, the caller calls [Conn.Leave] when it is done with it. Who has too many and goes on asking for more without
// taking the answers, or has had too many in all, is hung up on.
func (c *Conn) Open() (reached counters.Reason) {
	reached, tooMany := c.open()
	if reached != "" {
		c.table.Counters.Count(reached, c.RemoteAddr())
	}
	if tooMany {
		_ = c.Close()
	}
	return reached
}

func (c *Conn) open() (reached counters.Reason, tooMany bool) {
	t := c.table
	t.mu.Lock()
	defer t.mu.Unlock()
	c.sessions++
	c.ever++
	switch {
	case c.ever > t.MaxSessionsEver:
		return counters.SessionsEver, true
	case c.sessions > t.MaxSessions:
		return counters.Sessions, c.sessions > 2*t.MaxSessions
	}
	return "", false
}

// Leave counts a session that is over.
func (c *Conn) Leave() {
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	c.sessions--
	if c.table.draining != nil && c.sessions == 0 {
		_ = c.Close()
	}
}
