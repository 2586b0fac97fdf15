package middleware_test

import (
	"fmt"
	"strings"
	"testing"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

const ptyNotice = "Nothing is broken: you are connected, but this server provides no terminals.\r\n" +
	"Use `ssh -T` to connect without the message above.\r\n"

func TestPTYNotice(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), middleware.PTYNotice(), middleware.Message(middleware.Fixed("bye\r\n")))
	narrow := "Nothing is broken: you are connected,\r\nbut this server provides no terminals.\r\n" +
		"Use `ssh -T` to connect without the\r\nmessage above.\r\n"
	for _, tt := range []struct {
		name  string
		visit sshtest.Visit
		want  sshtest.Result
	}{
		{"no terminal", sshtest.Visit{}, sshtest.Result{Stdout: "bye\r\n"}},
		{"a terminal", sshtest.Visit{Term: "xterm"}, sshtest.Result{Stdout: "bye\r\n", Stderr: ptyNotice}},
		{"a narrow terminal", sshtest.Visit{Term: "xterm", Width: 40}, sshtest.Result{Stdout: "bye\r\n", Stderr: narrow}},
		{"a terminal that can do nothing", sshtest.Visit{Term: "dumb"}, sshtest.Result{Stdout: "bye\r\n", Stderr: ptyNotice}},
		{"a command", sshtest.Visit{Command: "ls"}, sshtest.Result{
			Stderr: "You are logged in, but this server runs no commands and transfers no files.\nbye\n", Status: 1,
		}},
		{"a command with a terminal", sshtest.Visit{Command: "ls", Term: "xterm"}, sshtest.Result{
			Stderr: ptyNotice + "You are logged in, but this server runs no commands and transfers no files.\r\nbye\r\n", Status: 1,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, srv.Visit(t, tt.visit), tt.want)
		})
	}
}

// All sessions of a connection share its context. The notice depends on the session's own request.
func TestPTYNoticeOfEachSession(t *testing.T) {
	const sessions = 20
	answer := func(i int) (sshtest.Visit, sshtest.Result) {
		visit := sshtest.Visit{Env: []string{fmt.Sprintf("N=%d", i)}}
		want := sshtest.Result{Stdout: fmt.Sprintf("N=%d", i)}
		if i%3 == 0 {
			visit.Term, want.Stderr = "xterm", ptyNotice
		}
		return visit, want
	}
	environ := func(sess ssh.Session) { _, _ = sess.Write([]byte(strings.Join(sess.Environ(), " "))) }

	t.Run("one after the other", func(t *testing.T) {
		client := dial(t, sshtest.Serve(t, middleware.Open(), middleware.PTYNotice(), middleware.Handler("test", environ)), "")
		for i := range sessions {
			visit, want := answer(i)
			expect(t, sshtest.Run(t, client, visit), want)
		}
	})
	t.Run("concurrently", func(t *testing.T) {
		all := barrier(t, sessions)
		client := dial(t, sshtest.Serve(t, middleware.Open(), all, middleware.PTYNotice(), all, middleware.Handler("test", environ)), "")
		concurrently(sessions, func(i int) {
			visit, want := answer(i)
			expect(t, sshtest.Run(t, client, visit), want)
		})
	})
}

// Where the PTY is granted there is no notice.
func TestPTYGrantedWithoutPTYNotice(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), middleware.Message(middleware.Fixed("bye\n")))
	client := dial(t, srv, "")
	got := runSession(t, client, func(sess *gossh.Session) error {
		if err := sess.RequestPty("xterm", 24, 80, nil); err != nil {
			return err
		}
		return sess.Shell()
	})
	expect(t, got, sshtest.Result{Stdout: "bye\r\n"})
}
