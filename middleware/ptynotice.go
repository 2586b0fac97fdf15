package middleware

import (
	"charm.land/ssh"

	"foyer/middleware/session"
)

const ptyNotice = "Nothing is broken: you are connected, but this server provides no terminals.\n" +
	"Use `ssh -T` to connect without the message above."

// PTYNotice returns the layer that refuses every PTY and explains the line that ssh then prints, "PTY allocation request
// failed on channel 0", which many people take for a bug of the server. Sessions without a PTY request get no notice.
//
// With `ssh -tt`, OpenSSH exits as soon as its PTY is refused, and so do paramiko's get_pty and asyncssh. They show no
// notice. To serve such clients, grant the PTY: leave this layer out.
func PTYNotice() Layer {
	return Layer{
		Name: "ptynotice",
		Connect: func(*Conn) (Moments, error) {
			return Moments{Terminal: func(ssh.Pty) bool { return false }}, nil
		},
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				if session.InfoOf(sess).PTY == session.Refused {
					Tell(sess, sentence(sess, "pty-refused", ptyNotice))
				}
				next(sess)
			}
		},
	}
}
