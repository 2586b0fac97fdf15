package penalties

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// Visit is what a ledger knows of a connection. It is for one goroutine. Nil is a connection that pays nothing.
type Visit struct {
	ledger        *Ledger
	table         *Table
	source        netip.Prefix
	attempted     bool
	invalid       bool // an attempt was a user's who does not exist
	authenticated bool
}

// Attempt notes an attempt to authenticate. The method "none" is none: with it clients ask which others there are.
func (v *Visit) Attempt(user, method string, err error) {
	switch {
	case v == nil:
	case err == nil:
		v.authenticated = true
	case method != "none":
		v.attempted = true
		v.invalid = v.invalid || !v.ledger.KnownUser(user)
	}
}

// Close has the source pay for the connection, unless somebody was authenticated on it. The error is why nobody was.
// A connection that this side closed before anything was tried, to make room for another, costs nothing.
func (v *Visit) Close(err error) {
	if v == nil || v.authenticated || !v.attempted && errors.Is(err, net.ErrClosed) {
		return
	}
	l, reason := v.ledger, v.reason(err)
	if l.cost(reason) <= 0 {
		return
	}
	block, ended := v.table.Add(l.now(), v.source, l.cost(reason), reason)
	l.tell(ended)
	if block > 0 {
		l.Logger.Warn("source blocked", "addr", v.source.String(), "duration", block.Round(time.Millisecond/10),
			"reason", reason.String())
	}
}

// reason is the dearest of those that apply. In sshd time that ran out hides a failure, and a failure an invalid
// user; by its defaults that is the same, and an operator who turns one of them off means only that one.
func (v *Visit) reason(err error) Reason {
	dearest := NoAuth
	if v.attempted {
		dearest = AuthFail
	}
	if v.invalid && v.ledger.cost(InvalidUser) >= v.ledger.cost(dearest) {
		dearest = InvalidUser
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && v.ledger.cost(GraceExceeded) >= v.ledger.cost(dearest) {
		dearest = GraceExceeded
	}
	return dearest
}
