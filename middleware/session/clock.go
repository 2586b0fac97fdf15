package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// sending is one of the things that a session may be sending at the same time.
type sending int

const (
	sendingReply  sending = iota // the request loop: that the channel is open, and what it answers
	sendingStdout                // who holds the stream; EOF too
	sendingStderr                // who holds the stream
	sendingEnd                   // the exit status and the close
	sendings
)

// clock is the one timer of a session, for all that may take too long in it. To begin and to have done with sending
// something is a note, and touches no timer: the timer goes off once in a timeout and looks at the notes. That is never
// late, since what is begun after one look is not overdue before the next.
type clock struct {
	timeout  time.Duration // how long the client may keep the session waiting
	lifetime time.Duration // how long the session may last

	opened time.Time
	begun  [sendings]atomic.Int64 // at which age of the session, in nanoseconds and one more; 0: nothing is being sent

	mu    sync.Mutex
	timer *time.Timer // nil once the session is over
}

// start calls ring whenever there is something to look at, until stop.
func (c *clock) start(ring func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = time.Now()
	c.timer = time.AfterFunc(min(c.timeout, c.lifetime), ring)
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
	c.timer = nil
}

// begin notes that something is being sent; where another of its kind already is, that one counts.
func (c *clock) begin(what sending) { c.begun[what].CompareAndSwap(0, int64(c.age())+1) }

func (c *clock) done(what sending) { c.begun[what].Store(0) }

func (c *clock) age() time.Duration { return time.Since(c.opened) }

// look returns how long the client has kept the session waiting, and for how long it should have been over. It sets the
// timer to when that changes what is to be done, if there is anything left to do then.
func (c *clock) look() (waited, late time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age, next := c.age(), c.timeout
	for i := range c.begun {
		if begun := time.Duration(c.begun[i].Load()); begun > 0 {
			taken := age - (begun - 1)
			waited = max(waited, taken)
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
	return waited, late
}

// nextLimit returns when what has taken so long costs more: the channel after one timeout, the connection after two.
func (c *clock) nextLimit(taken time.Duration) time.Duration {
	if taken < c.timeout {
		return c.timeout - taken
	}
	return 2*c.timeout - taken
}
