package middleware

import (
	"io"
	"strings"

	"charm.land/ssh"
	"github.com/charmbracelet/x/ansi"

	"foyer/middleware/session"
)

// minWidth is the smallest width at which text is wrapped. A client that does not know its width sends 0.
const minWidth = 20

// Tell writes text to the visitor's stderr, because stdout is only for the message. If the session requested a
// terminal, Tell wraps the text at the terminal's width and ends lines with \r\n, which is correct in raw and in cooked
// mode. Otherwise lines end with \n. A missing last line end is added.
func Tell(sess ssh.Session, text string) {
	_, _ = io.WriteString(sess.Stderr(), format(session.InfoOf(sess), text))
}

func format(info session.Info, text string) string {
	text = strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n") + "\n"
	if info.PTY == session.NotAsked {
		return text
	}
	if width := info.Terminal.Window.Width; width >= minWidth {
		text = ansi.Wrap(text, width, "")
	}
	return strings.ReplaceAll(text, "\n", "\r\n")
}
