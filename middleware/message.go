package middleware

import (
	"bytes"
	"sync/atomic"
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
func Message(text Text) Layer {
	var last atomic.Pointer[message]
	return Handler("message", func(sess ssh.Session) {
		now := last.Load()
		if current := text.Current(); now == nil || now.text != current {
			now = newMessage(current)
			last.Store(now)
		}
		if session.InfoOf(sess).Request == "shell" {
			_, _ = sess.Write(now.whole)
			return
		}
		now.refuse(sess)
		_ = sess.Exit(1)
	})
}

// message is one version of the message, as the tools need it.
type message struct {
	text                        string
	whole, lines, terminalLines []byte
}

func newMessage(text string) *message {
	m := &message{text: text, whole: []byte(text)}
	if text != "" {
		m.lines = []byte(format(session.Info{}, text))
	}
	m.terminalLines = bytes.ReplaceAll(m.lines, []byte("\n"), []byte("\r\n"))
	return m
}

// refuse tells a tool that asks for a command or a subsystem.
func (m *message) refuse(sess ssh.Session) {
	tool := refusal.ToolOf(sess.Command(), sess.Subsystem())
	text := sentence(sess, sentenceNames[tool], tool.Sentence())
	switch tool {
	case refusal.Git:
		_, _ = sess.Write(refusal.GitError(text + "\n" + string(m.lines)))
		return
	case refusal.SCP:
		_, _ = sess.Write(refusal.SCPError(text))
	default:
		Tell(sess, text)
	}
	if session.InfoOf(sess).PTY == session.NotAsked {
		_, _ = sess.Stderr().Write(m.lines)
	} else {
		_, _ = sess.Stderr().Write(m.terminalLines)
	}
	if tool == refusal.SFTP {
		serveSFTP(sess, text+"\n"+string(m.lines))
	}
}

// sentenceNames are the names of the tools' sentences.
var sentenceNames = map[refusal.Tool]string{
	refusal.Command: "commands", refusal.Files: "files", refusal.SCP: "files", refusal.SFTP: "files", refusal.Git: "repositories",
}

// serveSFTP denies each request of a client with text, until the client leaves or waits too long.
func serveSFTP(sess ssh.Session, text string) {
	end := time.AfterFunc(sftpTime, func() { _ = sess.Exit(1) })
	defer end.Stop()
	_ = refusal.ServeSFTP(sess, text, func() { end.Reset(sftpTime) })
}
