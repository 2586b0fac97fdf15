package penalties

import (
	"errors"
	"net"
	"net/netip"
	"os"
)

// Outcome is the outcome of an attempt to authenticate.
type Outcome int

// The outcomes.
const (
	Succeeded  Outcome = iota
	Failed             // also if only one step of several succeeded
	Asked              // the client asked for the list of methods
	NotChecked         // the server was too busy to check the attempt
)

// Connection records the attempts on one connection. It is not safe for concurrent use. Nil is an exempt connection.
type Connection struct {
	tracker       *Tracker
	table         *Table
	source        netip.Prefix
	failed        bool
	user          string // whom the failed attempts named
	users         bool   // they named several
	invalid       bool   // an attempt named a user who does not exist
	notChecked    bool
	authenticated bool
}

// Attempt records an attempt to authenticate. If it succeeds after failures for another user, the source gets a penalty.
func (c *Connection) Attempt(user string, outcome Outcome) {
	switch {
	case c == nil:
	case outcome == Succeeded:
		if c.failed && (c.users || c.user != user) { // otherwise who has one account could try others for free
			c.charge(nil)
		}
		c.authenticated = true
	case outcome == NotChecked:
		c.notChecked = true
	case outcome == Failed:
		c.users = c.users || c.failed && c.user != user
		c.failed, c.user = true, user
		c.invalid = c.invalid || !c.tracker.KnownUser(user)
	}
}

// Close ends the connection. If the client was not authenticated, err is why, and the source gets a penalty. Without a
// failed attempt there is none in two cases: the server made room for another source ([net.ErrClosed]), or it was too
// busy to check an attempt.
func (c *Connection) Close(err error) {
	if c == nil || c.authenticated || !c.failed && (c.notChecked || errors.Is(err, net.ErrClosed)) {
		return
	}
	c.charge(err)
}

func (c *Connection) charge(err error) {
	t, reason := c.tracker, c.reason(err)
	if t.penalty(reason) <= 0 {
		return
	}
	block, ended := c.table.Add(t.now(), c.source, t.penalty(reason), reason)
	t.logEnded(ended)
	if block > 0 {
		t.logBlocked(c.source, block, reason)
	}
	if t.Shared != nil {
		t.Shared.Add(c.source, t.penalty(reason))
	}
}

// reason returns the reason with the largest penalty of those that apply. In sshd a timeout takes precedence over a
// failure, and a failure over an invalid user. With sshd's defaults the result is the same. An operator who disables
// one of the penalties still gets the others.
func (c *Connection) reason(err error) Reason {
	largest := NoAuth
	if c.failed {
		largest = AuthFail
	}
	if c.invalid && c.tracker.penalty(InvalidUser) >= c.tracker.penalty(largest) {
		largest = InvalidUser
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && c.tracker.penalty(GraceExceeded) >= c.tracker.penalty(largest) {
		largest = GraceExceeded
	}
	return largest
}
