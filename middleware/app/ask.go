// Package app has parts for an SSH app of one's own: questions, commands, texts of single users. A Bubble Tea program is in
// package program.
package app

import (
	"errors"

	"charm.land/ssh"
	"golang.org/x/term"

	"foyer/middleware"
	"foyer/middleware/session"
)

// ErrNoTerminal is the error of [Ask] for a session without a terminal.
var ErrNoTerminal = errors.New("the session has no terminal")

// NeedTerminal reports whether a session has a terminal. If not, it tells the visitor why it needs one, and how to get it.
// What then remains is to exit with status 1.
func NeedTerminal(sess ssh.Session) bool {
	switch session.InfoOf(sess).PTY {
	case session.Granted:
		return true
	case session.Refused:
		middleware.Tell(sess, "This needs a terminal, and this server provides none.")
	default:
		middleware.Tell(sess, "This needs a terminal. Connect with `ssh -t`.")
	}
	return false
}

// Ask asks a person at a terminal one question after the other, each with its prompt, and returns the answers. They are
// whatever the person has typed, up to 4,096 characters each: clean them before anybody else sees them (package sanitize). The
// error is io.EOF if the person gives up with Ctrl-C or Ctrl-D.
func Ask(sess ssh.Session, prompts ...string) (answers []string, err error) {
	pty, _, granted := sess.Pty()
	if !granted {
		return nil, ErrNoTerminal
	}
	screen := term.NewTerminal(sess, "")
	if pty.Window.Width > 0 && pty.Window.Height > 0 {
		_ = screen.SetSize(pty.Window.Width, pty.Window.Height)
	}
	for _, prompt := range prompts {
		screen.SetPrompt(prompt)
		answer, err := screen.ReadLine()
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
			return answers, err
		}
		answers = append(answers, answer)
	}
	return answers, nil
}
