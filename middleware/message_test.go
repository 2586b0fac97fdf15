package middleware_test

import (
	"runtime"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

func TestMessage(t *testing.T) {
	const simple = "This session is very simple.  Goodbye!\r\n"
	const noCommands = "You are logged in, but this server runs no commands and transfers no files."
	granting := sshtest.Serve(t, middleware.Open(), middleware.Message(middleware.Fixed(middleware.SimpleMessage)))
	refusing := sshtest.Serve(t, middleware.Open(), refusePTY(), middleware.Message(middleware.Fixed(middleware.SimpleMessage)))
	for _, tt := range []struct {
		name  string
		srv   *sshtest.Server
		visit sshtest.Visit
		want  sshtest.Result
	}{
		{"shell", granting, sshtest.Visit{}, sshtest.Result{Stdout: simple}},
		{"shell with a PTY", granting, sshtest.Visit{Term: "xterm"}, sshtest.Result{Stdout: simple, PTY: true}},
		{"shell with a refused PTY", refusing, sshtest.Visit{Term: "xterm"}, sshtest.Result{Stdout: simple}},
		{"exec", granting, sshtest.Visit{Command: "uname -a"}, sshtest.Result{
			Stderr: noCommands + "\nThis session is very simple.  Goodbye!\n", Status: 1,
		}},
		{"git", granting, sshtest.Visit{Command: "git-upload-pack '/x.git'"}, sshtest.Result{
			Stdout: "0069ERR You are logged in, but this server serves no repositories.\nThis session is very simple.  Goodbye!", Status: 1,
		}},
		{"scp", granting, sshtest.Visit{Command: "scp -f file"}, sshtest.Result{
			Stdout: "\x02You are logged in, but this server transfers no files.\n", Stderr: "This session is very simple.  Goodbye!\n", Status: 1,
		}},
		{"rsync", granting, sshtest.Visit{Command: "rsync --server . ."}, sshtest.Result{
			Stderr: "You are logged in, but this server transfers no files.\nThis session is very simple.  Goodbye!\n", Status: 1,
		}},
		{"exec with a PTY", granting, sshtest.Visit{Command: "top", Term: "xterm"}, sshtest.Result{
			Stderr: noCommands + "\r\n" + simple, Status: 1, PTY: true,
		}},
		{"exec with a refused PTY", refusing, sshtest.Visit{Command: "top", Term: "xterm"}, sshtest.Result{
			Stderr: noCommands + "\r\n" + simple, Status: 1,
		}},
		{"subsystem", granting, sshtest.Visit{Subsystem: "netconf"}, sshtest.Result{
			Stderr: noCommands + "\nThis session is very simple.  Goodbye!\n", Status: 1,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, tt.srv.Visit(t, tt.visit), tt.want)
		})
	}
	t.Run("exec of an empty command is not a shell", func(t *testing.T) {
		got := runSession(t, dial(t, granting, ""), func(sess *gossh.Session) error { return sess.Start("") })
		expect(t, got, sshtest.Result{Stderr: noCommands + "\nThis session is very simple.  Goodbye!\n", Status: 1})
	})
}

func TestMessageText(t *testing.T) {
	const noCommands = "You are logged in, but this server runs no commands and transfers no files.\n"
	for _, tt := range []struct{ name, text, shell, terminal, exec string }{
		{"no line end", "Bye", "Bye", "Bye", noCommands + "Bye\n"},
		{"several lines", "a\nb\n", "a\nb\n", "a\r\nb\r\n", noCommands + "a\nb\n"},
		{"nothing", "", "", "", noCommands},
		{"bytes that are not text", "\x00\xff\x1b[1m\n", "\x00\xff\x1b[1m\n", "\x00\xff\x1b[1m\r\n", noCommands + "\x00\xff\x1b[1m\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := sshtest.Serve(t, middleware.Open(), middleware.Message(middleware.Fixed(tt.text)))
			expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: tt.shell})
			expect(t, srv.Visit(t, sshtest.Visit{Term: "xterm"}), sshtest.Result{Stdout: tt.terminal, PTY: true})
			expect(t, srv.Visit(t, sshtest.Visit{Command: "ls"}), sshtest.Result{Stderr: tt.exec, Status: 1})
		})
	}
}

// Clients that do not read hold no copies of the text.
func TestMessageIsShared(t *testing.T) {
	const clients, size = 16, 8 << 20
	srv := sshtest.Serve(t, middleware.Open(), middleware.Message(middleware.Fixed(strings.Repeat("x", size))))
	memory := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	for _, tt := range []struct {
		name  string
		start func(*sshtest.Raw) error
	}{
		{"shell", (*sshtest.Raw).Shell},
		{"command", func(c *sshtest.Raw) error { return c.Command("ls") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := memory()
			for range clients {
				c := srv.DialRaw(t)
				if in, err := c.Attempt("guest", "ssh-connection", "none", nil); err != nil || !in {
					t.Fatalf("authenticated: %t, error: %v", in, err)
				}
				if err := tt.start(c); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Await(sshtest.MsgChannelData, sshtest.MsgExtendedData); err != nil {
					t.Fatal(err)
				}
			}
			if used := memory() - before; used > clients*size/4 {
				t.Errorf("%d clients hold %d MiB", clients, used>>20)
			}
		})
	}
}
