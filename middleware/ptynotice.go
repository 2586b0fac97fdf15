package middleware

import (
	"charm.land/ssh"

	"foyer/middleware/session"
)

const ptyNotice = "Nothing is broken: a terminal was asked for, and there is none to give here.\n" +
	"You are in all the same. `ssh -T` asks for none, and the line above goes away."

// PTYNotice returns the layer that refuses every PTY and explains the line that ssh prints then, "PTY allocation
// request failed on channel 0", which has been filed as a bug against a hundred servers. A session that asked for no
// terminal hears nothing.
//
// With `ssh -t` the terminal is demanded, and OpenSSH leaves as soon as it is refused (so do paramiko's get_pty and
// asyncssh): no text can reach that visitor, and only a server without this layer, which grants the PTY, can help.
func PTYNotice() Layer {
	return Layer{
		Name: "ptynotice",
		Connect: func(*Conn) (Moments, error) {
			return Moments{Terminal: func(ssh.Pty) bool { return false }}, nil
		},
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				if session.InfoOf(sess).PTY == session.Refused {
					Tell(sess, ptyNotice)
				}
				next(sess)
			}
		},
	}
}
