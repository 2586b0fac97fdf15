package middleware

import (
	"io"

	"charm.land/ssh"

	"foyer/middleware/session"
)

// SimpleMessage is the default message. It is that of a Twisted Conch example, to the byte: two spaces, and CR LF,
// which a raw terminal needs.
const SimpleMessage = "This session is very simple.  Goodbye!\r\n"

const noCommands = "You are logged in, but this server runs no commands and transfers no files.\n"

// Message returns the last layer of a list, which serves the message. A shell request gets text on stdout, byte for
// byte, and exit status 0. A command or a subsystem (git, rsync, scp, sftp) gets an explanation and text on stderr,
// nothing on stdout, and exit status 1, so that the tool fails and shows why.
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
