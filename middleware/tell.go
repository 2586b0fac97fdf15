package middleware

import (
	"io"
	"strings"

	"charm.land/ssh"
	"github.com/charmbracelet/x/ansi"

	"foyer/middleware/session"
)

// narrowest is the width below which text is not wrapped any further: a client that knows no width says 0, and no
// one reads three columns.
const narrowest = 20

// Tell says text to the person behind a session: on stderr, so that stdout carries the message and nothing else.
// For a visitor who asked for a terminal it wraps the text at the terminal's width and ends its lines with \r\n,
// which is right on a raw terminal and on a cooked one; for a program they end in \n. A missing last line end is added.
func Tell(sess ssh.Session, text string) {
	_, _ = io.WriteString(sess.Stderr(), layOut(session.InfoOf(sess), text))
}

func layOut(facts session.Info, text string) string {
	text = strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n") + "\n"
	if facts.PTY == session.NotAsked {
		return text
	}
	if width := facts.Terminal.Window.Width; width >= narrowest {
		text = ansi.Wrap(text, width, "")
	}
	return strings.ReplaceAll(text, "\n", "\r\n")
}
