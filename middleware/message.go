package middleware

import (
	"io"

	"charm.land/ssh"

	"foyer/middleware/session"
)

// SimpleMessage is what the first server of this kind said: a Twisted Conch example of sixty lines. Two spaces, and
// CR LF, which a raw terminal needs.
const SimpleMessage = "This session is very simple.  Goodbye!\r\n"

const noCommands = "You are in, but this door runs no commands and transfers no files.\n"

// Message returns the layer that ends the list: it serves the message. A shell is answered with text, byte for byte on
// stdout, and exit status 0. A command or a subsystem (git, rsync, scp, sftp) is answered in words and with text on
// stderr, nothing on stdout, and exit status 1, so that a tool fails loudly and shows why.
func Message(text string) Layer {
	return Handler("message", func(sess ssh.Session) {
		if session.InfoOf(sess).Request != "shell" {
			Tell(sess, noCommands+text)
			_ = sess.Exit(1)
			return
		}
		_, _ = io.WriteString(sess, text)
	})
}
