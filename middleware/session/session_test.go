package session_test

import (
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	charm "charm.land/log/v2"
	"charm.land/ssh"
	"charm.land/wish/v2"
	"charm.land/wish/v2/accesscontrol"
	"charm.land/wish/v2/activeterm"
	"charm.land/wish/v2/elapsed"
	"charm.land/wish/v2/logging"
	recoverer "charm.land/wish/v2/recover"
	"go.uber.org/goleak"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

// TestMain fails where any test of the package has left a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a server on loopback whose sessions are served by channels.
type server struct{ *sshtest.Server }

// serve serves h with channels, or with the default ones, until the test ends. It lets everybody in.
func serve(t testing.TB, channels *session.Channels, h ssh.Handler, options ...ssh.Option) server {
	t.Helper()
	if channels == nil {
		channels = &session.Channels{}
	}
	handle := func(srv *ssh.Server) error { srv.Handler = h; return nil }
	return server{sshtest.Start(t, append([]ssh.Option{handleSessions(channels), handle}, options...)...)}
}

// dial returns a connection that is closed when the test ends.
func (s server) dial(t testing.TB) *gossh.Client {
	t.Helper()
	client, err := s.Dial("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// quiet collects what the package logs.
func quiet(t testing.TB) *sshtest.Log {
	t.Helper()
	log, before := sshtest.NewLog(), slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return log
}

// says talks on both streams and ends with exit status 3.
func says(sess ssh.Session) {
	_, _ = io.WriteString(sess.Stderr(), "err\n")
	_, _ = io.WriteString(sess, "out\n")
	_ = sess.Exit(3)
}

var orders = []struct {
	name    string
	pty     bool
	h       ssh.Handler
	packets int // the end of the output comes with the close where it does not come alone
	want    []string
}{
	{"shell", false, says, 6, []string{
		"shell yes", "stderr err\n", "stdout out\n", "exit-status 3", "EOF", "close",
	}},
	{"shell with a PTY", true, says, 8, []string{
		"pty-req yes", "shell yes", "stderr err\r\n", "keepalive@openssh.com", "stdout out\r\n", "exit-status 3",
		"EOF", "close",
	}},
	{"nothing said", false, func(ssh.Session) {}, 4, []string{"shell yes", "exit-status 0", "EOF", "close"}},
	{"output ended by the handler", false, func(sess ssh.Session) {
		_, _ = io.WriteString(sess, "out")
		_ = sess.CloseWrite()
	}, 5, []string{"shell yes", "stdout out", "EOF", "exit-status 0", "close"}},
	{"Close without Exit", false, func(sess ssh.Session) { _ = sess.Close() }, 4, []string{
		"shell yes", "exit-status 0", "EOF", "close",
	}},
	{"Close after Exit", false, func(sess ssh.Session) { _ = sess.Exit(3); _ = sess.Close() }, 4, []string{
		"shell yes", "exit-status 3", "EOF", "close",
	}},
	{"Exit after Close", false, func(sess ssh.Session) { _ = sess.Close(); _ = sess.Exit(3) }, 4, []string{
		"shell yes", "exit-status 0", "EOF", "close",
	}},
}

// The order on the wire that paramiko, PuTTY and node's ssh2 insist on.
func TestOrderOnTheWire(t *testing.T) {
	for _, tt := range orders {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire(t, handler(tt.h), nil)
				v := open(t, w.client)
				w.ToClient.Hold(true)
				go func() {
					if tt.pty {
						v.ask(t, "pty-req", pty("xterm", 80, 24, ""))
					}
					v.ask(t, "shell", nil)
				}()
				packets := 0
				for w.ToClient.Step() {
					packets++
				}
				if got := v.events(); !slices.Equal(got, tt.want) || packets != tt.packets {
					t.Errorf("the client saw, in %d packets, %q; want, in %d, %q", packets, got, tt.packets, tt.want)
				}
			})
		})
	}
}

func TestExit(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    ssh.Handler
		want int
	}{
		{"returns", func(ssh.Session) {}, 0},
		{"0", exits(0), 0},
		{"1", exits(1), 1},
		{"254", exits(254), 254},
		{"255 is ssh's own", exits(255), 1},
		{"256", exits(256), 1},
		{"-1", exits(-1), 1},
		{"the first one counts", func(sess ssh.Session) { _ = sess.Exit(7); _ = sess.Exit(8) }, 7},
		{"then panics", func(sess ssh.Session) { _ = sess.Exit(7); panic("late") }, 7},
		{"panics", func(ssh.Session) { panic("evil\x1b[2J\n") }, 1},
		{"panics with nil", func(ssh.Session) { panic(any(nil)) }, 1},
		{"Goexit", func(ssh.Session) { runtime.Goexit() }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := quiet(t)
			srv := serve(t, nil, tt.h)
			client := srv.dial(t)
			other := open(t, client) // on the same connection, and lives on
			if got := sshtest.Run(t, client, sshtest.Visit{}); got.Status != tt.want {
				t.Errorf("exit status %d, want %d", got.Status, tt.want)
			}
			if !other.ask(t, "env", env("A", "b")) {
				t.Error("another session of the connection did not survive")
			}
			if strings.ContainsAny(log.String(), "\x1b") {
				t.Errorf("what was panicked with is in the log as it is: %q", log)
			}
		})
	}
}

func exits(code int) ssh.Handler { return func(sess ssh.Session) { _ = sess.Exit(code) } }

// A second Exit is an error, and so is one after Close. Close is never one: what it asks for has happened.
func TestErrorsOfExitAndClose(t *testing.T) {
	exit := func(sess ssh.Session) error { return sess.Exit(1) }
	closeIt := func(sess ssh.Session) error { return sess.Close() }
	for _, tt := range []struct {
		name   string
		calls  []func(ssh.Session) error
		failed []bool
	}{
		{"Exit twice", []func(ssh.Session) error{exit, exit}, []bool{false, true}},
		{"Exit after Close", []func(ssh.Session) error{closeIt, exit}, []bool{false, true}},
		{"Close after Exit", []func(ssh.Session) error{exit, closeIt, closeIt}, []bool{false, false, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan []bool, 1)
			srv := serve(t, nil, func(sess ssh.Session) {
				var failed []bool
				for _, call := range tt.calls {
					failed = append(failed, call(sess) != nil)
				}
				got <- failed
			})
			sshtest.Run(t, srv.dial(t), sshtest.Visit{})
			if got := <-got; !slices.Equal(got, tt.failed) {
				t.Errorf("the calls failed: %v, want %v", got, tt.failed)
			}
		})
	}
}

// Many goroutines end a session while many more write: one ends it, and there is no race for x/crypto's unguarded state
// (run with -race).
func TestExitAmongWriters(t *testing.T) {
	srv := serve(t, nil, func(sess ssh.Session) {
		var writing sync.WaitGroup
		for _, w := range []io.Writer{sess, sess, sess.Stderr(), sess.Stderr()} {
			writing.Go(func() {
				for range 100 {
					if _, err := w.Write([]byte("line\n")); err != nil {
						return
					}
				}
			})
		}
		for code := range 3 {
			writing.Go(func() { _ = sess.Exit(code + 1) })
		}
		writing.Go(func() { _ = sess.CloseWrite() })
		writing.Wait()
	})
	client := srv.dial(t)
	var visits sync.WaitGroup
	for i := range 40 {
		term := []string{"", "xterm"}[i%2]
		visits.Go(func() {
			if got := sshtest.Run(t, client, sshtest.Visit{Term: term}); got.Status < 1 || got.Status > 3 {
				t.Errorf("exit status %d", got.Status)
			}
		})
	}
	visits.Wait()
}

// Sessions of one connection, some with a terminal and some without, each get their own answer.
func TestSessionsOfOneConnection(t *testing.T) {
	srv := serve(t, nil, func(sess ssh.Session) {
		info := session.InfoOf(sess)
		_, _ = fmt.Fprintf(sess.Stderr(), "%s\n", sess.Environ())
		_, _ = fmt.Fprintf(sess, "%s %q %q %s\n", info.Request, sess.RawCommand(), sess.Subsystem(), info.PTY)
		_ = sess.Exit(len(sess.RawCommand()))
	})
	srv.PtyCallback = func(_ ssh.Context, pty ssh.Pty) bool { return pty.Term != "dumb" }
	client := srv.dial(t)
	var visits sync.WaitGroup
	for i := range 60 {
		visits.Go(func() {
			v, eol := sshtest.Visit{Env: []string{fmt.Sprintf("N=%d", i)}}, "\n"
			want := sshtest.Result{Stderr: fmt.Sprintf("[N=%d]", i)}
			switch i % 4 {
			case 0:
				v.Term, eol, want.PTY = "xterm", "\r\n", true
				want.Stdout = `shell "" "" granted`
			case 1:
				v.Term, v.Command, want.Status = "dumb", "abc", 3
				want.Stdout = `exec "abc" "" refused`
			case 2:
				v.Subsystem = "sftp"
				want.Stdout = `subsystem "" "sftp" none`
			default:
				want.Stdout = `shell "" "" none`
			}
			want.Stdout += eol
			want.Stderr += eol
			if got := sshtest.Run(t, client, v); got != want {
				t.Errorf("%+v got %+v, want %+v", v, got, want)
			}
		})
	}
	visits.Wait()
}

// Ten megabytes that nobody reads neither hold up the session nor stay in memory once it has ended.
func TestStdinThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := make(chan struct{})
		w := newWire(t, handler(func(ssh.Session) { <-exit }), nil)
		v := open(t, w.client)
		v.ask(t, "shell", nil)
		sent := make(chan int)
		go func() {
			n, _ := v.Write(make([]byte, 10<<20))
			sent <- n
		}()
		synctest.Wait() // all that goes into the window is sent
		close(exit)
		if n := <-sent; n > 2<<20 {
			t.Errorf("the server took %d bytes, more than the window of 2 MiB, from a client that it did not read", n)
		}
		<-v.done
		if got := v.events(); !slices.Contains(got, "exit-status 0") {
			t.Errorf("the client saw %q", got)
		}
	})
}

// x/crypto wakes only one of the readers of a channel when it ends. A handler that leaves a goroutine at stdin, as
// every bubbletea program does, must not keep the session, or the goroutine, from ending.
func TestReadersThatTheHandlerLeavesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var readers sync.WaitGroup
		w := newWire(t, handler(func(sess ssh.Session) {
			for range 3 {
				readers.Go(func() { _, _ = io.Copy(io.Discard, sess) })
				readers.Go(func() { _, _ = io.Copy(io.Discard, sess.Stderr()) })
			}
		}), nil)
		v := open(t, w.client)
		v.ask(t, "shell", nil)
		<-v.done
		readers.Wait()
	})
}

func TestHandlerReadsStdin(t *testing.T) {
	srv := serve(t, nil, func(sess ssh.Session) { _, _ = io.Copy(sess, sess) })
	v := open(t, srv.dial(t))
	v.ask(t, "shell", nil)
	if _, err := io.WriteString(v, "echo"); err != nil {
		t.Fatal(err)
	}
	if err := v.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-v.done
	if got := v.events(); !slices.Contains(got, "stdout echo") {
		t.Errorf("the client saw %q", got)
	}
}

// An empty list of words means a shell to every Wish middleware, so no exec has one.
func TestCommand(t *testing.T) {
	for _, tt := range []struct {
		request string
		payload []byte
		want    []string
	}{
		{"shell", nil, nil},
		{"subsystem", str("sftp"), nil},
		{"exec", str("git-upload-pack 'a b'"), []string{"git-upload-pack", "a b"}},
		{"exec", str(""), []string{""}},
		{"exec", str(" \t"), []string{" \t"}},
		{"exec", str("it's"), []string{"it's"}},
		{"exec", str("\\"), []string{"\\"}},
	} {
		t.Run(fmt.Sprintf("%s %q", tt.request, tt.payload), func(t *testing.T) {
			got := make(chan []string, 1)
			srv := serve(t, nil, func(sess ssh.Session) { got <- sess.Command() })
			open(t, srv.dial(t)).ask(t, tt.request, tt.payload)
			if got := <-got; !slices.Equal(got, tt.want) {
				t.Errorf("words %q, want %q", got, tt.want)
			}
		})
	}
}

// Wish middleware, which is written for the library's channel, runs on this one unchanged.
func TestWishMiddleware(t *testing.T) {
	log := sshtest.NewLog()
	logger := charm.NewWithOptions(log, charm.Options{Formatter: charm.LogfmtFormatter})
	srv := serve(t, nil, nil,
		wish.WithMiddleware(
			func(next ssh.Handler) ssh.Handler {
				return func(sess ssh.Session) {
					if sess.RawCommand() == "panic" {
						panic("at the disco")
					}
					terminal, _, _ := sess.Pty()
					wish.Printf(sess, "%s %s\n", sess.User(), terminal.Term)
					next(sess)
				}
			},
			accesscontrol.Middleware("allowed", "panic"),
			activeterm.Middleware(),
			elapsed.MiddlewareWithFormat("took %v\n"),
			func(next ssh.Handler) ssh.Handler { return recoverer.MiddlewareWithLogger(logger)(next) },
			logging.StructuredMiddlewareWithLogger(logger, charm.InfoLevel),
		))
	client := srv.dial(t)
	for _, tt := range []struct {
		visit  sshtest.Visit
		status int
		stdout string
	}{
		{sshtest.Visit{Term: "xterm"}, 0, "guest xterm\r\ntook "},
		{sshtest.Visit{Term: "xterm", Command: "allowed 'to run'"}, 0, "guest xterm\r\ntook "},
		{sshtest.Visit{Term: "xterm", Command: "denied"}, 1, "Command is not allowed: denied\r\n"},
		{sshtest.Visit{Term: "xterm", Command: "'"}, 1, "Command is not allowed: '\r\n"},
		{sshtest.Visit{Term: "xterm", Command: "panic"}, 0, ""},
		{sshtest.Visit{}, 1, "Requires an active PTY\n"},
	} {
		if got := sshtest.Run(t, client, tt.visit); got.Status != tt.status || !strings.HasPrefix(got.Stdout, tt.stdout) {
			t.Errorf("%+v got %+v, want status %d and %q", tt.visit, got, tt.status, tt.stdout)
		}
	}
	log.Line(t, "connect", `command="[allowed to run]"`, "term=xterm", "width=80")
	log.Line(t, "panic: at the disco")
}

func TestString(t *testing.T) {
	for pty, want := range map[session.PTY]string{
		session.NotAsked: "none", session.Refused: "refused", session.Granted: "granted",
	} {
		if got := pty.String(); got != want {
			t.Errorf("%d is %q, want %q", pty, got, want)
		}
	}
}
