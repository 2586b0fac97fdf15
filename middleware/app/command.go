package app

import (
	"charm.land/ssh"

	"foyer/middleware"
	"foyer/middleware/session"
)

// Command returns the layer that serves one command, as in `ssh host whoami`. Run gets the words after the name, and returns
// the exit status. What it writes to the session is its stdout. All other sessions go on to the layers after it.
func Command(name string, run func(sess ssh.Session, args []string) (status int)) middleware.Layer {
	return middleware.Layer{
		Name: name,
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				info, words := session.InfoOf(sess), sess.Command()
				if info.Request != "exec" || info.Truncated || words[0] != name {
					next(sess)
					return
				}
				_ = sess.Exit(run(sess, words[1:]))
			}
		},
	}
}
