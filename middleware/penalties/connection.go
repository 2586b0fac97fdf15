package penalties

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// Outcome is what became of an attempt to authenticate.
type Outcome int

// The outcomes.
const (
	Succeeded  Outcome = iota
	Failed             // or only one step of several succeeded
	Asked              // the client asked which methods there are
	NotChecked         // the server was too busy to check it
)

// Connection is what a ledger knows of one connection. It is for one goroutine. Nil is a connection that pays nothing.
type Connection struct {
	ledger        *Ledger
	table         *Table
	source        netip.Prefix
	failed        bool
	invalid       bool // an attempt named a user who does not exist
	notChecked    bool
	authenticated bool
}

// Attempt notes an attempt to authenticate.
func (c *Connection) Attempt(user string, outcome Outcome) {
	switch {
	case c == nil:
	case outcome == Succeeded:
		c.authenticated = true
	case outcome == NotChecked:
		c.notChecked = true
	case outcome == Failed:
		c.failed = true
		c.invalid = c.invalid || !c.ledger.KnownUser(user)
	}
}

// Close charges the source for the connection, unless somebody was authenticated on it. The error is why nobody was. A
// connection on which nothing failed costs nothing if this side closed it to make room for another, or was too busy to
// check what it tried.
func (c *Connection) Close(err error) {
	if c == nil || c.authenticated || !c.failed && (c.notChecked || errors.Is(err, net.ErrClosed)) {
		return
	}
	l, reason := c.ledger, c.reason(err)
	if l.cost(reason) <= 0 {
		return
	}
	block, ended := c.table.Add(l.now(), c.source, l.cost(reason), reason)
	l.tell(ended)
	if block > 0 {
		l.Logger.Warn("source blocked", "addr", c.source.String(), "duration", block.Round(time.Millisecond/10),
			"reason", reason.String())
	}
}

// reason is the most expensive one that applies. In sshd a timeout hides a failure, and a failure an invalid user; with its
// defaults that is the same, and an operator who turns one of them off means only that one.
func (c *Connection) reason(err error) Reason {
	worst := NoAuth
	if c.failed {
		worst = AuthFail
	}
	if c.invalid && c.ledger.cost(InvalidUser) >= c.ledger.cost(worst) {
		worst = InvalidUser
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && c.ledger.cost(GraceExceeded) >= c.ledger.cost(worst) {
		worst = GraceExceeded
	}
	return worst
}
