package app

import (
	"io"

	"charm.land/ssh"

	"foyer/middleware"
	"foyer/middleware/session"
)

// UserText returns the layer that says a text of their own to some users who ask for a shell. Text returns it, and false for a
// user who has none; they and all other requests go on to the layers after it.
func UserText(text func(user string) (string, bool)) middleware.Layer {
	return middleware.Layer{
		Name: "usertext",
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				own, found := text(sess.User())
				if !found || session.InfoOf(sess).Request != "shell" {
					next(sess)
					return
				}
				_, _ = io.WriteString(sess, own)
			}
		},
	}
}
