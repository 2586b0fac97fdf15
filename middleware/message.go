package middleware

import (
	"bytes"

	"charm.land/ssh"

	"foyer/middleware/session"
)

// SimpleMessage is the default message. It is that of a Twisted Conch example, to the byte: two spaces, and CR LF,
// which a raw terminal needs.
const SimpleMessage = "This session is very simple.  Goodbye!\r\n"

const noCommands = "You are logged in, but this server runs no commands and transfers no files.\n"

// Message returns the last layer of a list, which serves the message. A shell request gets text on stdout, byte for
// byte, and exit status 0. A command or a subsystem (git, rsync, scp, sftp) gets an explanation and text on stderr,
// nothing on stdout, and exit status 1, so that the tool fails and shows why. All sessions share the text, so that clients
// which read slowly hold no copies of it.
func Message(text string) Layer {
	whole := []byte(text)
	lines := []byte(format(session.Info{}, text))
	terminalLines := bytes.ReplaceAll(lines, []byte("\n"), []byte("\r\n"))
	return Handler("message", func(sess ssh.Session) {
		info := session.InfoOf(sess)
		if info.Request == "shell" {
			_, _ = sess.Write(whole)
			return
		}
		Tell(sess, noCommands)
		switch {
		case text == "":
		case info.PTY == session.NotAsked:
			_, _ = sess.Stderr().Write(lines)
		default:
			_, _ = sess.Stderr().Write(terminalLines)
		}
		_ = sess.Exit(1)
	})
}
