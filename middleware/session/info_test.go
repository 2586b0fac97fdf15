package session_test

import (
	"io"
	"reflect"
	"testing"

	"charm.land/ssh"

	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

func TestInfo(t *testing.T) {
	terminal := ssh.Pty{Term: "xterm", Window: ssh.Window{Width: 80, Height: 24}}
	for _, tt := range []struct {
		name  string
		visit sshtest.Visit
		want  session.Info
	}{
		{"shell", sshtest.Visit{}, session.Info{Request: "shell"}},
		{"exec", sshtest.Visit{Command: "ls"}, session.Info{Request: "exec"}},
		{"subsystem", sshtest.Visit{Subsystem: "sftp"}, session.Info{Request: "subsystem"}},
		{"granted", sshtest.Visit{Term: "xterm"}, session.Info{Request: "shell", PTY: session.Granted, Terminal: terminal}},
		{"refused", sshtest.Visit{Term: "dumb"}, session.Info{
			Request: "shell", PTY: session.Refused, Terminal: ssh.Pty{Term: "dumb", Window: terminal.Window},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			infos := make(chan session.Info, 3)
			srv := serve(t, nil, func(sess ssh.Session) {
				infos <- session.InfoOf(sess)
				_, _ = io.WriteString(sess, "four")
				_, _ = io.WriteString(sess.Stderr(), "six\nen")
				infos <- session.InfoOf(sess)
				_ = sess.Exit(300)
				infos <- session.InfoOf(sess)
			}, func(srv *ssh.Server) error {
				srv.PtyCallback = func(_ ssh.Context, pty ssh.Pty) bool { return pty.Term != "dumb" }
				return nil
			})
			sshtest.Run(t, srv.dial(t), tt.visit)
			wantInfo(t, "at first", <-infos, tt.want)
			tt.want.Bytes = 10
			if tt.want.PTY == session.Granted {
				tt.want.Bytes++ // a carriage return
			}
			wantInfo(t, "with output", <-infos, tt.want)
			tt.want.Exited, tt.want.Status = true, 1
			wantInfo(t, "at last", <-infos, tt.want)
		})
	}
}

func wantInfo(t *testing.T, when string, got, want session.Info) {
	t.Helper()
	got.Terminal.Modes = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, want %+v", when, got, want)
	}
}

// A middleware may wrap the session, and its context, as often as it likes.
func TestInfoOfAWrappedSession(t *testing.T) {
	type wrapped struct{ ssh.Session }
	got := make(chan session.Info, 1)
	srv := serve(t, nil, func(sess ssh.Session) { got <- session.InfoOf(wrapped{wrapped{sess}}) })
	sshtest.Run(t, srv.dial(t), sshtest.Visit{Command: "ls", Term: "xterm"})
	if info := <-got; info.Request != "exec" || info.PTY != session.Granted {
		t.Errorf("%+v", info)
	}
}

// On the library's own channel there is what the interface tells.
func TestInfoOfAnotherChannel(t *testing.T) {
	got := make(chan session.Info, 1)
	report := func(sess ssh.Session) { got <- session.InfoOf(sess) }
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
		want  session.Info
	}{
		{sshtest.Visit{}, session.Info{Request: "shell"}},
		{sshtest.Visit{Command: "ls"}, session.Info{Request: "exec"}},
		{sshtest.Visit{Subsystem: "sftp"}, session.Info{Request: "subsystem"}},
		{sshtest.Visit{Term: "xterm"}, session.Info{Request: "shell", PTY: session.Granted, Terminal: ssh.Pty{
			Term: "xterm", Window: ssh.Window{Width: 80, Height: 24},
		}}},
	} {
		sshtest.Run(t, client, tt.visit)
		wantInfo(t, "another channel", <-got, tt.want)
	}
}
