package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// sending is a kind of write that may block. A session may have one of each kind at the same time.
type sending int

const (
	sendingReply  sending = iota // by the request loop: the channel confirmation and the replies
	sendingStdout                // by the holder of stdout's lock; EOF too
	sendingStderr                // by the holder of stderr's lock
	sendingEnd                   // the exit status and the close
	sendingKinds                 // how many kinds there are
)

// clock is the only timer of a session. It watches the lifetime of the session and every write that may block. A write
// only stores when it starts and that it is done; the timer fires once per timeout and checks those times. It is never
// late, because a write that starts after one check is not overdue before the next.
type clock struct {
	timeout  time.Duration // how long the client may block a write
	lifetime time.Duration // how long the session may last

	opened  time.Time
	started [sendingKinds]atomic.Int64 // when each write started: nanoseconds after opened, plus 1; 0 if none is active

	mu    sync.Mutex
	timer *time.Timer // nil once the session is over
}

// start calls onTimer whenever a limit may be reached, until stop.
func (c *clock) start(onTimer func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = time.Now()
	c.timer = time.AfterFunc(min(c.timeout, c.lifetime), onTimer)
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
	c.timer = nil
}

// begin records that a write starts. If another one of its kind is active, the older one counts.
func (c *clock) begin(what sending) { c.started[what].CompareAndSwap(0, int64(c.age())+1) }

func (c *clock) done(what sending) { c.started[what].Store(0) }

func (c *clock) age() time.Duration { return time.Since(c.opened) }

// check returns how long the client has blocked the oldest write, and how long the session has exceeded its lifetime,
// which is negative before that. It sets the timer to the next limit that may be reached, if there is one.
func (c *clock) check() (blocked, late time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age, next := c.age(), c.timeout
	for i := range c.started {
		if started := time.Duration(c.started[i].Load()); started > 0 {
			taken := age - (started - 1)
			blocked = max(blocked, taken)
			next = min(next, c.nextLimit(taken))
		}
	}
	if late = age - c.lifetime; late < 0 {
		next = min(next, -late)
	} else {
		next = min(next, c.nextLimit(late))
	}
	if c.timer != nil && next > 0 {
		c.timer.Reset(next)
	}
	return blocked, late
}

// nextLimit returns the time until the next limit: the channel is closed after one timeout, the connection after two.
func (c *clock) nextLimit(taken time.Duration) time.Duration {
	if taken < c.timeout {
		return c.timeout - taken
	}
	return 2*c.timeout - taken
}
