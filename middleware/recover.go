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
	Logger(sess.Context()).Error("panic in session",
		"user", sanitize.String(sess.User(), shownName),
		"err", sanitize.String(fmt.Sprint(r), shownText),
		"stack", string(debug.Stack()))
	Tell(sess, "It is not your fault: something broke on this side.\nThe operator can see what it was; please try again later.")
	_ = sess.Exit(1)
}

// errPanic is what an attempt to authenticate fails with that ended in a panic.
var errPanic = errors.New("panic in authentication")

// rescueAttempt is deferred around what decides on an attempt to authenticate: a panic in it fails the attempt, and
// nothing else.
func rescueAttempt(ctx ssh.Context, err *error) {
	if r := recover(); r != nil {
		*err = errPanic
		Logger(ctx).Error("panic in authentication",
			"err", sanitize.String(fmt.Sprint(r), shownText), "stack", string(debug.Stack()))
	}
}
