package app_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"charm.land/ssh"

	"foyer/middleware"
	"foyer/middleware/app"
	"foyer/middleware/sshtest"
)

// asking is a handler that asks for two things.
func asking(sess ssh.Session) {
	if !app.NeedTerminal(sess) {
		_ = sess.Exit(1)
		return
	}
	answers, err := app.Ask(sess, "name? ", "colour? ")
	if err != nil {
		_, _ = fmt.Fprintf(sess, "%q, %v\r\n", answers, err)
		_ = sess.Exit(2)
		return
	}
	_, _ = fmt.Fprintf(sess, "thanks: %q\r\n", answers)
}

func TestAsk(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), middleware.Handler("test", asking))
	term := srv.Terminal(t, sshtest.Visit{Term: "xterm"})
	term.Expect("name? ")
	term.Type("ada\x7fm\rred\r") // both at once, with a mistake
	term.Expect(`thanks: ["adm" "red"]`)
	if status := term.Wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	for key, want := range map[string]string{"\x03": `[], EOF`, "\x04": `[], EOF`} {
		term := srv.Terminal(t, sshtest.Visit{Term: "xterm"})
		term.Expect("name? ")
		term.Type(key)
		term.Expect(want)
		if status := term.Wait(); status != 2 {
			t.Errorf("%q: exit status %d", key, status)
		}
	}
}

func TestNeedTerminal(t *testing.T) {
	granting := sshtest.Serve(t, middleware.Open(), middleware.Handler("test", asking))
	expect(t, granting.Visit(t, sshtest.Visit{}), sshtest.Result{Stderr: "This needs a terminal. Connect with `ssh -t`.\n", Status: 1})
	refusing := sshtest.Serve(t, middleware.Open(), middleware.PTYNotice(), middleware.Handler("test", asking))
	got := refusing.Visit(t, sshtest.Visit{Term: "xterm"})
	if !strings.HasSuffix(got.Stderr, "This needs a terminal, and this server provides none.\r\n") || got.Status != 1 {
		t.Errorf("refused: %+v", got)
	}
	var err error
	alone := sshtest.Serve(t, middleware.Open(), middleware.Handler("test", func(sess ssh.Session) { _, err = app.Ask(sess, "?") }))
	alone.Visit(t, sshtest.Visit{})
	if !errors.Is(err, app.ErrNoTerminal) {
		t.Error(err)
	}
}

func TestCommand(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), app.Command("whoami", func(sess ssh.Session, args []string) int {
		_, _ = io.WriteString(sess, sess.User()+"\n")
		return len(args)
	}), middleware.Message(middleware.Fixed("bye\n")))
	expect(t, srv.Visit(t, sshtest.Visit{Command: "whoami"}), sshtest.Result{Stdout: "guest\n"})
	expect(t, srv.Visit(t, sshtest.Visit{Command: "whoami 'a b' c"}), sshtest.Result{Stdout: "guest\n", Status: 2})
	expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: "bye\n"})
	if got := srv.Visit(t, sshtest.Visit{Command: "whoamid"}); got.Status != 1 || got.Stdout != "" {
		t.Errorf("another command: %+v", got)
	}
}

func TestUserText(t *testing.T) {
	srv := sshtest.Serve(t, middleware.Open(), app.UserText(func(user string) (string, bool) {
		return "Hello " + user + ".\n", user == "alice"
	}), middleware.Message(middleware.Fixed("bye\n")))
	expect(t, srv.Visit(t, sshtest.Visit{User: "alice"}), sshtest.Result{Stdout: "Hello alice.\n"})
	expect(t, srv.Visit(t, sshtest.Visit{User: "alice", Term: "xterm"}), sshtest.Result{Stdout: "Hello alice.\r\n", PTY: true})
	expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: "bye\n"})
	if got := srv.Visit(t, sshtest.Visit{User: "alice", Command: "ls"}); got.Status != 1 {
		t.Errorf("a command: %+v", got)
	}
}

// expect compares what the client received with what it has to receive.
func expect(t *testing.T, got, want sshtest.Result) {
	t.Helper()
	if got != want {
		t.Errorf("the client received %#v\nwant                %#v", got, want)
	}
}
