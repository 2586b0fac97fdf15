package middleware

import (
	"errors"
	"fmt"
	"runtime/debug"

	"charm.land/ssh"

	"foyer/middleware/eventlog/sanitize"
)

// Recover returns the layer that recovers from a panic in a session, in the layers after it or in the handler. The
// visitor reads an apology, the session ends with exit status 1, and the stack is logged. All other sessions continue,
// also on the same connection. It belongs first in the list.
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
	if r := recover(); r != nil {
		Panicked(sess, r, debug.Stack())
	}
}

// Panicked ends a session because of a panic that was recovered elsewhere, such as in a goroutine of the handler's, as the
// layer Recover does.
func Panicked(sess ssh.Session, value any, stack []byte) {
	ConnOf(sess.Context()).Logger().Error("panic in session",
		"user", sanitize.String(sess.User(), maxShownName),
		"err", sanitize.String(fmt.Sprint(value), maxShownText),
		"stack", string(stack))
	Tell(sess, "This is not your fault: something broke on the server.\nThe operator can see the details. Please try again later.")
	_ = sess.Exit(1)
}

// errPanic is the error of an attempt to authenticate whose check panicked.
var errPanic = errors.New("panic in authentication")

// recoverAttempt is deferred around the check of an attempt to authenticate. A panic makes the attempt fail.
func (c *Conn) recoverAttempt(err *error) {
	if r := recover(); r != nil {
		*err = errPanic
		c.Logger().Error("panic in authentication",
			"err", sanitize.String(fmt.Sprint(r), maxShownText), "stack", string(debug.Stack()))
	}
}
