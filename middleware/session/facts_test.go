package session_test

import (
	"io"
	"reflect"
	"testing"

	"charm.land/ssh"

	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

func TestFacts(t *testing.T) {
	terminal := ssh.Pty{Term: "xterm", Window: ssh.Window{Width: 80, Height: 24}}
	for _, tt := range []struct {
		name  string
		visit sshtest.Visit
		want  session.Facts
	}{
		{"shell", sshtest.Visit{}, session.Facts{Request: "shell"}},
		{"exec", sshtest.Visit{Command: "ls"}, session.Facts{Request: "exec"}},
		{"subsystem", sshtest.Visit{Subsystem: "sftp"}, session.Facts{Request: "subsystem"}},
		{"granted", sshtest.Visit{Term: "xterm"}, session.Facts{Request: "shell", PTY: session.Granted, Terminal: terminal}},
		{"refused", sshtest.Visit{Term: "dumb"}, session.Facts{
			Request: "shell", PTY: session.Refused, Terminal: ssh.Pty{Term: "dumb", Window: terminal.Window},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts := make(chan session.Facts, 3)
			srv := serve(t, nil, func(sess ssh.Session) {
				facts <- session.Of(sess)
				_, _ = io.WriteString(sess, "four")
				_, _ = io.WriteString(sess.Stderr(), "six\nen")
				facts <- session.Of(sess)
				_ = sess.Exit(300)
				facts <- session.Of(sess)
			}, func(srv *ssh.Server) error {
				srv.PtyCallback = func(_ ssh.Context, pty ssh.Pty) bool { return pty.Term != "dumb" }
				return nil
			})
			sshtest.Run(t, srv.dial(t), tt.visit)
			wantFacts(t, "at first", <-facts, tt.want)
			tt.want.Bytes = 10
			if tt.want.PTY == session.Granted {
				tt.want.Bytes++ // a carriage return
			}
			wantFacts(t, "with output", <-facts, tt.want)
			tt.want.Exited, tt.want.Status = true, 1
			wantFacts(t, "at last", <-facts, tt.want)
		})
	}
}

func wantFacts(t *testing.T, when string, got, want session.Facts) {
	t.Helper()
	got.Terminal.Modes = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, want %+v", when, got, want)
	}
}

// A middleware may wrap the session, and its context, as often as it likes.
func TestFactsOfAWrappedSession(t *testing.T) {
	type wrapped struct{ ssh.Session }
	got := make(chan session.Facts, 1)
	srv := serve(t, nil, func(sess ssh.Session) { got <- session.Of(wrapped{wrapped{sess}}) })
	sshtest.Run(t, srv.dial(t), sshtest.Visit{Command: "ls", Term: "xterm"})
	if facts := <-got; facts.Request != "exec" || facts.PTY != session.Granted {
		t.Errorf("%+v", facts)
	}
}

// On the library's own channel there is what the interface tells.
func TestFactsOfAnotherChannel(t *testing.T) {
	got := make(chan session.Facts, 1)
	report := func(sess ssh.Session) { got <- session.Of(sess) }
	srv := sshtest.Start(t, func(srv *ssh.Server) error {
		srv.Handler = report
		srv.SubsystemHandlers = map[string]ssh.SubsystemHandler{"sftp": report}
		return nil
	})
	client, err := srv.Dial("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	for _, tt := range []struct {
		visit sshtest.Visit
		want  session.Facts
	}{
		{sshtest.Visit{}, session.Facts{Request: "shell"}},
		{sshtest.Visit{Command: "ls"}, session.Facts{Request: "exec"}},
		{sshtest.Visit{Subsystem: "sftp"}, session.Facts{Request: "subsystem"}},
		{sshtest.Visit{Term: "xterm"}, session.Facts{Request: "shell", PTY: session.Granted, Terminal: ssh.Pty{
			Term: "xterm", Window: ssh.Window{Width: 80, Height: 24},
		}}},
	} {
		sshtest.Run(t, client, tt.visit)
		wantFacts(t, "another channel", <-got, tt.want)
	}
}
