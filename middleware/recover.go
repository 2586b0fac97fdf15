package middleware

import (
	"errors"
	"fmt"
	"runtime/debug"

	"charm.land/ssh"

	"foyer/middleware/eventlog/sanitize"
)

// Recover returns the layer that contains a panic in the layers it stands around, or in the handler. The visitor is
// told in words and the session ends with exit status 1; the log has the stack; every other session, on the same
// connection too, goes on. It belongs outermost.
func Recover() Layer {
	return Layer{
		Name: "recover",
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				defer rescue(sess)
				next(sess)
			}
		},
	}
}

func rescue(sess ssh.Session) {
	r := recover()
	if r == nil {
		return
	}
	ConnOf(sess.Context()).Logger().Error("panic in session",
		"user", sanitize.String(sess.User(), maxShownName),
		"err", sanitize.String(fmt.Sprint(r), maxShownText),
		"stack", string(debug.Stack()))
	Tell(sess, "It is not your fault: something broke on this side.\nThe operator can see what it was; please try again later.")
	_ = sess.Exit(1)
}

// errPanic is why an attempt to authenticate failed in which a check panicked.
var errPanic = errors.New("panic in authentication")

// recoverAttempt is deferred around a check of an attempt to authenticate. A panic in it fails that attempt.
func (c *Conn) recoverAttempt(err *error) {
	if r := recover(); r != nil {
		*err = errPanic
		c.Logger().Error("panic in authentication",
			"err", sanitize.String(fmt.Sprint(r), maxShownText), "stack", string(debug.Stack()))
	}
}
