package sshtest_test

import (
	"io"
	"testing"

	"charm.land/ssh"

	"foyer/middleware"
	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

// Visit returns what the client receives on each stream, for every kind of request.
func TestVisit(t *testing.T) {
	log := sshtest.NewLog()
	tell := func(sess ssh.Session) {
		info := session.InfoOf(sess)
		_, _ = io.WriteString(sess, info.Request+" "+sess.RawCommand()+sess.Subsystem())
		_, _ = io.WriteString(sess.Stderr(), sess.User()+" "+info.Terminal.Term)
		_ = sess.Exit(len(sess.Environ()))
	}
	srv := sshtest.Serve(t, middleware.Logging(log.Events()), middleware.Open(), middleware.Handler("test", tell))
	for _, tt := range []struct {
		name  string
		visit sshtest.Visit
		want  sshtest.Result
	}{
		{"a shell", sshtest.Visit{}, sshtest.Result{Stdout: "shell ", Stderr: "guest "}},
		{"a command", sshtest.Visit{Command: "ls"}, sshtest.Result{Stdout: "exec ls", Stderr: "guest "}},
		{"a subsystem", sshtest.Visit{Subsystem: "sftp"}, sshtest.Result{Stdout: "subsystem sftp", Stderr: "guest "}},
		{"a terminal", sshtest.Visit{Term: "vt100"}, sshtest.Result{Stdout: "shell ", Stderr: "guest vt100", PTY: true}},
		{"alice", sshtest.Visit{User: "alice", Env: []string{"A=1", "B=2"}}, sshtest.Result{Stdout: "shell ", Stderr: "alice ", Status: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := srv.Visit(t, tt.visit); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	log.Line(t, "session closed", "user=alice", "exit=2")
}
