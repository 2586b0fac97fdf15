package middleware_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"charm.land/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

const broken = "This is not your fault: something broke on the server.\nThe operator can see the details. Please try again later.\n"

func TestRecover(t *testing.T) {
	panicking := func(value any) ssh.Handler { return func(ssh.Session) { panic(value) } }
	for _, tt := range []struct {
		name    string
		handler ssh.Handler
		want    sshtest.Result
		err     string // in the log
	}{
		{"a word", panicking("boom"), sshtest.Result{Stderr: broken, Status: 1}, "boom"},
		{"an error", panicking(io.ErrUnexpectedEOF), sshtest.Result{Stderr: broken, Status: 1}, "unexpected EOF"},
		{"nil", panicking(nil), sshtest.Result{Stderr: broken, Status: 1}, "panic called with nil argument"},
		{"a nil error", panicking(error(nil)), sshtest.Result{Stderr: broken, Status: 1}, "panic called with nil argument"},
		{"a nil pointer that is an error", panicking((*mute)(nil)), sshtest.Result{Stderr: broken, Status: 1}, "<nil>"},
		{"an error that panics itself", panicking(&mute{}), sshtest.Result{Stderr: broken, Status: 1}, "PANIC=Error method"},
		{"a write to a nil map", func(ssh.Session) { (struct{ counts map[string]int }{}).counts["x"]++ },
			sshtest.Result{Stderr: broken, Status: 1}, "assignment to entry in nil map"},
		{"control characters", panicking("\x1b[2J\nINFO all is well\u202e"),
			sshtest.Result{Stderr: broken, Status: 1}, `\\x1b[2J\\nINFO all is well\\u202e`},
		{"something long", panicking(strings.Repeat("x", 1<<20)),
			sshtest.Result{Stderr: broken, Status: 1}, strings.Repeat("x", 256) + "…"},
		{"after some output", func(sess ssh.Session) { _, _ = io.WriteString(sess, "so far\n"); panic("boom") },
			sshtest.Result{Stdout: "so far\n", Stderr: broken, Status: 1}, "boom"},
		{"after the end", func(sess ssh.Session) { _ = sess.Exit(7); panic("boom") }, sshtest.Result{Status: 7}, "boom"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := sshtest.NewLog()
			srv := sshtest.Serve(t, middleware.Recover(), middleware.Logging(l.Events()), middleware.Open(), middleware.Handler("test", tt.handler))
			expect(t, srv.Visit(t, sshtest.Visit{}), tt.want)
			line := l.Line(t, "panic in session")
			for _, part := range []string{"level=error", "conn=", "addr=127.0.0.1:", "user=guest", tt.err, "stack=", "recover_test.go"} {
				if !strings.Contains(line, part) {
					t.Errorf("no %q in the log line:\n%.400s", part, line)
				}
			}
			if strings.Contains(line, strings.Repeat("x", 300)) || strings.ContainsAny(line, "\x1b\u202e") {
				t.Errorf("the log has the value of the panic unchanged:\n%.400q", line)
			}
			l.Line(t, "session closed", "exit="+string(rune('0'+tt.want.Status)))
		})
	}
}

// mute is an error whose Error method panics.
type mute struct{ words *string }

func (m *mute) Error() string { return *m.words }

func TestRecoverFromALayer(t *testing.T) {
	bad := middleware.Layer{Name: "bad", Session: func(ssh.Handler) ssh.Handler {
		return func(ssh.Session) { panic(errors.New("broken layer")) }
	}}
	l := sshtest.NewLog()
	srv := sshtest.Serve(t, middleware.Logging(l.Events()), middleware.Recover(), middleware.Open(), bad, middleware.Handler("test", whoami))
	expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stderr: broken, Status: 1})
	l.Line(t, "panic in session", `err="broken layer"`)
	l.Line(t, "session closed", "exit=1") // also where Logging is outside of Recover
}

// At a terminal the text is formatted for it.
func TestRecoverAtATerminal(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Recover(), middleware.Logging(sshtest.NewLog().Events()), middleware.Open(), middleware.Handler("test", func(ssh.Session) { panic("boom") }))
	expect(t, srv.Visit(t, sshtest.Visit{Term: "xterm"}), sshtest.Result{
		Stderr: strings.ReplaceAll(broken, "\n", "\r\n"), Status: 1, PTY: true,
	})
}

// A panic ends one session. Other sessions, on the same connection and on others, go on.
func TestRecoverAffectsOneSession(t *testing.T) {
	waiting, panicked := make(chan struct{}, 2), make(chan struct{})
	handler := func(sess ssh.Session) {
		if sess.RawCommand() == "panic" {
			panic("boom")
		}
		_, _ = io.WriteString(sess, "waited, ")
		waiting <- struct{}{}
		<-panicked
		_, _ = io.WriteString(sess, "and served")
	}
	srv := sshtest.Serve(t, middleware.Recover(), middleware.Logging(sshtest.NewLog().Events()), middleware.Open(), middleware.Handler("test", handler))
	same, other := dial(t, srv, ""), dial(t, srv, "")
	concurrently(3, func(i int) {
		switch i {
		case 0:
			expect(t, sshtest.Run(t, same, sshtest.Visit{}), sshtest.Result{Stdout: "waited, and served"})
		case 1:
			expect(t, sshtest.Run(t, other, sshtest.Visit{}), sshtest.Result{Stdout: "waited, and served"})
		case 2:
			defer close(panicked)
			sshtest.Receive(t, waiting)
			sshtest.Receive(t, waiting)
			expect(t, sshtest.Run(t, same, sshtest.Visit{Command: "panic"}), sshtest.Result{Stderr: broken, Status: 1})
		}
	})
	expect(t, sshtest.Run(t, same, sshtest.Visit{}), sshtest.Result{Stdout: "waited, and served"})
}
