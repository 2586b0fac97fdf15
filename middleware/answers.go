package middleware

import (
	"io"

	"charm.land/ssh"

	"foyer/middleware/content"
	"foyer/middleware/refusal"
	"foyer/middleware/session"
)

// Answers returns the layer that says the first answer of the rules that fits, instead of what the layers after it say. A
// shell request gets it on stdout: for its terminal if one was granted, and otherwise as the same bytes for all programs. A
// command or a subsystem gets it where its tool shows it, as [Message] does. The exit status is that of the rule, or 0 for a
// shell and 1 for all others.
func Answers(said *Content) Layer {
	return Layer{
		Name: "answers",
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				visit := said.Visit(sess)
				answer, found := said.Table.Answer(visit)
				if !found {
					next(sess)
					return
				}
				SayAnswer(sess, answer, visit)
			}
		},
	}
}

// SayAnswer says an answer and ends the session.
func SayAnswer(sess ssh.Session, answer content.Match, visit *content.Visit) {
	info := session.InfoOf(sess)
	text := answer.Text(visit, ViewOf(sess))
	if info.Request == "shell" {
		writeText(sess, text)
	} else {
		tellTool(sess, text)
	}
	_ = sess.Exit(ExitStatus(info, answer))
}

// tellTool says a text where the tool shows it that asks for a command or a subsystem.
func tellTool(sess ssh.Session, text string) {
	switch refusal.ToolOf(sess.Command(), sess.Subsystem()) {
	case refusal.Git:
		_, _ = sess.Write(refusal.GitError(text))
	case refusal.SCP:
		_, _ = sess.Write(refusal.SCPError(text))
	case refusal.SFTP:
		writeText(sess.Stderr(), text)
		serveSFTP(sess, text)
	default:
		writeText(sess.Stderr(), text)
	}
}

// writeText writes a text, unless it is empty, with a line end in pieces, so that a client which reads slowly holds no copy of
// the whole.
func writeText(w io.Writer, text string) {
	const piece = 4 << 10
	end := ""
	if text != "" {
		end = "\n"
	}
	for text != "" {
		n := min(piece, len(text))
		if _, err := io.WriteString(w, text[:n]); err != nil {
			return
		}
		text = text[n:]
	}
	_, _ = io.WriteString(w, end)
}

// ExitStatus returns the exit status of a session that gets an answer.
func ExitStatus(info session.Info, answer content.Match) int {
	switch {
	case answer.Rule.Exit != nil:
		return *answer.Rule.Exit
	case info.Request == "shell":
		return 0
	}
	return 1
}
