package middleware

import (
	"io"

	"charm.land/ssh"

	"foyer/middleware/content"
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
	switch {
	case text == "":
	case info.Request == "shell":
		_, _ = io.WriteString(sess, text+"\n")
	default:
		tellTool(sess, text, nil, nil)
	}
	_ = sess.Exit(ExitStatus(info, answer))
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
