package middleware

import (
	"charm.land/ssh"

	"foyer/middleware/session"
)

// Notices returns the layer that says all notices of the rules that fit to a person: to a session that asked for a terminal,
// on stderr. Programs get none, so that what they read does not change with the date; an answer can have the same text.
func Notices(said *Content) Layer {
	return Layer{
		Name: "notices",
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				if session.InfoOf(sess).PTY != session.NotAsked {
					visit := said.Visit(sess)
					for _, notice := range said.Table.Notices(visit) {
						Tell(sess, notice.Text(visit, ViewOf(sess)))
					}
				}
				next(sess)
			}
		},
	}
}
