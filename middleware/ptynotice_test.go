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

const ptyNotice = "Nothing is broken: a terminal was asked for, and there is none to give here.\r\n" +
	"You are in all the same. `ssh -T` asks for none, and the line above goes away.\r\n"

func TestPTYNotice(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), middleware.PTYNotice(), middleware.Message("bye\r\n"))
	narrow := "Nothing is broken: a terminal was asked\r\nfor, and there is none to give here.\r\n" +
		"You are in all the same. `ssh -T` asks\r\nfor none, and the line above goes away.\r\n"
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
			Stderr: "You are in, but this door runs no commands and transfers no files.\nbye\n", Status: 1,
		}},
		{"a command with a terminal", sshtest.Visit{Command: "ls", Term: "xterm"}, sshtest.Result{
			Stderr: ptyNotice + "You are in, but this door runs no commands and transfers no files.\r\nbye\r\n", Status: 1,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, srv.Visit(t, tt.visit), tt.want)
		})
	}
}

// All sessions of a connection share its context; what one of them asked for is nevertheless its own.
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
		client := enter(t, sshtest.Serve(t, middleware.Open(), middleware.PTYNotice(), middleware.Handler("test", environ)), "")
		for i := range sessions {
			visit, want := answer(i)
			expect(t, sshtest.Run(t, client, visit), want)
		}
	})
	t.Run("at once", func(t *testing.T) {
		all := meet(sessions)
		client := enter(t, sshtest.Serve(t, middleware.Open(), all, middleware.PTYNotice(), all, middleware.Handler("test", environ)), "")
		atOnce(sessions, func(i int) {
			visit, want := answer(i)
			expect(t, sshtest.Run(t, client, visit), want)
		})
	})
}

// With the PTY granted there is nothing to explain.
func TestPTYGrantedWithoutPTYNotice(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), middleware.Message("bye\n"))
	client := enter(t, srv, "")
	got := visit(t, client, func(sess *gossh.Session) error {
		if err := sess.RequestPty("xterm", 24, 80, nil); err != nil {
			return err
		}
		return sess.Shell()
	})
	expect(t, got, sshtest.Result{Stdout: "bye\r\n"})
}
