package middleware

import (
	"bytes"
	"time"

	"charm.land/ssh"

	"foyer/middleware/refusal"
	"foyer/middleware/session"
)

// SimpleMessage is the default message. It is that of a Twisted Conch example, to the byte: two spaces, and CR LF,
// which a raw terminal needs.
const SimpleMessage = "This session is very simple.  Goodbye!\r\n"

// sftpTime is how long a client of SFTP may stay after its last refused request.
const sftpTime = 3 * time.Second

// Message returns the last layer of a list, which serves the message. A shell request gets text on stdout, byte for
// byte, and exit status 0. A command or a subsystem gets an explanation and text where its tool shows them, and exit status
// 1, so that the tool fails: git and scp as their errors, sftp as a status too, and all others on stderr, with nothing on
// stdout.
// All sessions share the text, so that clients which read slowly hold no copies of it.
func Message(text string) Layer {
	refused := refusedTool{text: format(session.Info{}, text)}
	if text == "" {
		refused.text = ""
	}
	refused.lines = []byte(refused.text)
	refused.terminalLines = bytes.ReplaceAll(refused.lines, []byte("\n"), []byte("\r\n"))
	whole := []byte(text)
	return Handler("message", func(sess ssh.Session) {
		if session.InfoOf(sess).Request == "shell" {
			_, _ = sess.Write(whole)
			return
		}
		refused.tell(sess)
		_ = sess.Exit(1)
	})
}

// refusedTool is what the tools get that ask for a command or a subsystem.
type refusedTool struct {
	text                 string
	lines, terminalLines []byte
}

func (r *refusedTool) tell(sess ssh.Session) {
	tool := refusal.ToolOf(sess.Command(), sess.Subsystem())
	sentence := tool.Sentence()
	switch tool {
	case refusal.Git:
		_, _ = sess.Write(refusal.GitError(sentence + "\n" + r.text))
		return
	case refusal.SCP:
		_, _ = sess.Write(refusal.SCPError(sentence))
	default:
		Tell(sess, sentence)
	}
	if session.InfoOf(sess).PTY == session.NotAsked {
		_, _ = sess.Stderr().Write(r.lines)
	} else {
		_, _ = sess.Stderr().Write(r.terminalLines)
	}
	if tool == refusal.SFTP {
		end := time.AfterFunc(sftpTime, func() { _ = sess.Exit(1) })
		defer end.Stop()
		_ = refusal.ServeSFTP(sess, sentence+"\n"+r.text, func() { end.Reset(sftpTime) })
	}
}
