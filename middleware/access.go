package middleware

import (
	"errors"
	"sync/atomic"
	"time"

	"foyer/middleware/eventlog/sanitize"
)

// access checks whether the user of an open connection may still log in.
type access struct {
	at    time.Time   // when a login was checked, or zero; the handshake's, which is over when a channel is opened
	spent atomic.Bool // a channel was opened since
}

// fresh is for how long the check of the login counts for the first channel, which most clients open at once.
const fresh = time.Second

// checked records that a login was checked.
func (a *access) checked() { a.at = time.Now() }

// open returns an error if the user was let in, and is no longer permitted.
func (a *access) open(c *Conn, permitted func() bool) error {
	if a.at.IsZero() || !a.spent.Swap(true) && time.Since(a.at) < fresh || permitted() {
		return nil
	}
	c.Logger().Warn("session refused", "user", sanitize.String(c.Context().User(), maxShownName), "err", errRemoved)
	return errRemoved
}

var errRemoved = errors.New("this user may not log in any more")
