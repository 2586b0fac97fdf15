package middleware_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/budgets"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/sshtest"
)

// shortDeadlines has three deadlines such that none is equal to another, or to three times another.
var shortDeadlines = middleware.DeadlinesConfig{Handshake: 29 * time.Second, Idle: 100 * time.Second, Keepalive: 11 * time.Second}

// serveDeadlines returns a server with Deadlines and Open, and its counters.
func serveDeadlines(
	t testing.TB, cfg middleware.DeadlinesConfig, handler ssh.Handler, layers ...middleware.Layer,
) (*ssh.Server, *counters.Counters) {
	cfg.Counters = counters.New(counters.Config{Logger: sshtest.NewLog().Logger()})
	t.Cleanup(cfg.Counters.Flush)
	layers = append([]middleware.Layer{middleware.Deadlines(cfg), middleware.Open()}, layers...)
	return newServer(t, append(layers, middleware.Handler("test", handler))...), cfg.Counters
}

// endsAfter checks that the server disconnects after exactly d, for this reason only.
func endsAfter(t *testing.T, w *sshtest.MemoryConn, d time.Duration, counts *counters.Counters, reason counters.Reason) {
	t.Helper()
	time.Sleep(d - time.Nanosecond)
	if w.Closed() {
		t.Error("disconnected too early")
	}
	time.Sleep(time.Nanosecond)
	if !w.Closed() {
		t.Fatal("not disconnected")
	}
	if got := counts.Counts(); got[reason] != 1 || len(got) != 1 {
		t.Errorf("counted %v, want one %s", got, reason)
	}
}

// The deadline of the handshake ends a connection, whatever the client sends once a second: after 20 seconds before keys are
// exchanged, and a second after the deadline at the latest afterwards.
func TestDeadlinesHandshake(t *testing.T) {
	keyed := []string{"SSH_MSG_IGNORE with the keys", "SSH_MSG_IGNORE at the prompt", "queries of keys", "key exchanges"}
	for name, begin := range map[string]func(*testing.T, *sshtest.MemoryConn) (again func() error){
		"silent": func(*testing.T, *sshtest.MemoryConn) func() error { return func() error { return nil } },
		"a byte a second in the version line": func(_ *testing.T, w *sshtest.MemoryConn) func() error {
			return drip(w, "SSH-2.0-"+strings.Repeat("x", 100))
		},
		"a byte a second after the version line": func(_ *testing.T, w *sshtest.MemoryConn) func() error {
			return drip(w, "SSH-2.0-x\r\n"+string(sshtest.Unencrypted(sshtest.Init(sshtest.Curve25519))))
		},
		"a byte a second in KEXINIT": func(_ *testing.T, w *sshtest.MemoryConn) func() error {
			_, _ = io.WriteString(w, "SSH-2.0-x\r\n")
			return drip(w, string(sshtest.Unencrypted(sshtest.Init(sshtest.Curve25519))))
		},
		"the version line only": func(t *testing.T, w *sshtest.MemoryConn) func() error {
			_, _ = io.WriteString(w, "SSH-2.0-x\r\n")
			return func() error { return nil }
		},
		"SSH_MSG_IGNORE with the keys": func(t *testing.T, w *sshtest.MemoryConn) func() error {
			c := sshtest.NewRaw(w)
			if err := errors.Join(c.Greet("SSH-2.0-raw"), c.Keys(sshtest.MLKEM)); err != nil {
				t.Error(err)
			}
			seconds := 0
			return func() error { // more packets than this exceed what is read before authentication starts
				if seconds++; seconds%3 != 0 {
					return nil
				}
				return c.Write([]byte{sshtest.MsgIgnore, 0, 0, 0, 0})
			}
		},
		"SSH_MSG_IGNORE at the prompt": func(t *testing.T, w *sshtest.MemoryConn) func() error {
			c := w.Raw(t)
			return func() error { return c.Write([]byte{sshtest.MsgIgnore, 0, 0, 0, 0}) }
		},
		"queries of keys": func(t *testing.T, w *sshtest.MemoryConn) func() error {
			c := w.Raw(t)
			return func() error { _, err := c.Query("guest", sshtest.HostKey(t).PublicKey()); return err }
		},
		"key exchanges": func(t *testing.T, w *sshtest.MemoryConn) func() error {
			c := w.Raw(t)
			return func() error { return c.Keys(sshtest.Curve25519) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, counts := serveDeadlines(t, shortDeadlines, whoami, acceptKeys())
				w := sshtest.Connect(t, srv)
				busy(t, w, func() func() error { return begin(t, w) })
				if !slices.Contains(keyed, name) {
					endsAfter(t, w, 20*time.Second, counts, counters.HandshakeTime)
					return
				}
				time.Sleep(shortDeadlines.Handshake - time.Nanosecond)
				if w.Closed() {
					t.Error("disconnected too early")
				}
				time.Sleep(time.Second + time.Nanosecond)
				if !w.Closed() {
					t.Error("not disconnected")
				}
				if got := counts.Counts(); got[counters.HandshakeTime] != 1 || len(got) != 1 {
					t.Errorf("counted %v", got)
				}
			})
		})
	}
}

// A person at the prompt who runs out of time is told so.
func TestDeadlinesSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := shortDeadlines
		cfg.Handshake = 2 * time.Minute
		srv, _ := serveDeadlines(t, cfg, whoami, acceptKeys())
		c := sshtest.Connect(t, srv).Raw(t)
		began := time.Now()
		banner, err := c.Await(sshtest.MsgUserauthBanner)
		if err != nil || !strings.Contains(string(banner), "You have 120 seconds to log in. Please connect again.") {
			t.Errorf("the client reads %q, error %v", banner, err)
		}
		if took := time.Since(began); took != cfg.Handshake { // of the bubble's clock
			t.Errorf("told after %v", took)
		}
	})
}

// busy begins something in another goroutine, and repeats it once a second until it fails or the connection is closed.
func busy(t *testing.T, w *sshtest.MemoryConn, begin func() (again func() error)) {
	done := make(chan struct{})
	t.Cleanup(func() { _ = w.Close(); <-done })
	go func() {
		defer close(done)
		for again := begin(); again() == nil; {
			select {
			case <-time.After(time.Second):
			case <-w.Done:
				return
			}
		}
	}()
}

// drip returns a function that writes the next byte of text.
func drip(w io.Writer, text string) func() error {
	return func() error {
		next := text[:min(1, len(text))]
		text = text[len(next):]
		_, err := io.WriteString(w, next)
		return err
	}
}

// acceptKeys returns a layer that accepts every key.
func acceptKeys() middleware.Layer {
	return configures(func(cfg *gossh.ServerConfig) {
		cfg.PublicKeyCallback = func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) {
			return &gossh.Permissions{}, nil
		}
	})
}

// A connection without a session (ssh -N) ends after Idle, whatever the client sends.
func TestDeadlinesIdle(t *testing.T) {
	answer := []byte{82} // SSH_MSG_REQUEST_FAILURE, which is how OpenSSH answers a keepalive
	for name, packet := range map[string][]byte{
		"nothing":         answer,
		"global requests": sshtest.Message(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true),
		"ping":            sshtest.Message(sshtest.MsgPing, "ping"),
		"SSH_MSG_IGNORE":  {sshtest.MsgIgnore, 0, 0, 0, 0},
		"channels":        sshtest.OpenChannel("direct-tcpip", 1),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, counts := serveDeadlines(t, shortDeadlines, whoami)
				w := sshtest.Connect(t, srv)
				c := w.RawLogin(t)
				go func() { _, _ = io.Copy(io.Discard, w) }()
				busy(t, w, func() func() error {
					return func() error { return errors.Join(c.Write(packet), c.Write(answer)) }
				})
				endsAfter(t, w, shortDeadlines.Idle, counts, counters.IdleTime)
			})
		})
	}
}

// A connection stays open while it has a session. Idle starts again when the last session ends.
func TestDeadlinesSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		srv, counts := serveDeadlines(t, shortDeadlines, func(ssh.Session) { <-leave })
		w := sshtest.Connect(t, srv)
		client := w.Login(t, gossh.Config{})
		for range 2 {
			time.Sleep(shortDeadlines.Idle - time.Second)
			var left [2]chan struct{}
			for i := range left {
				left[i] = shell(t, client)
			}
			for range left {
				time.Sleep(3 * shortDeadlines.Idle)
				if w.Closed() {
					t.Fatal("disconnected during a session")
				}
				leave <- struct{}{}
			}
			<-left[0]
			<-left[1]
		}
		endsAfter(t, w, shortDeadlines.Idle, counts, counters.IdleTime)
	})
}

// A session that the server has ended keeps no connection open: some clients never confirm the close. Another session does.
func TestDeadlinesUnconfirmedClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		srv, counts := serveDeadlines(t, shortDeadlines, func(ssh.Session) { <-leave })
		w := sshtest.Connect(t, srv)
		c := w.RawLogin(t)
		for id := range uint32(2) {
			if refused := openSession(t, c, id); refused != "" {
				t.Fatal(refused)
			}
			mustWrite(t, c, sshtest.Message(sshtest.MsgChannelRequest, id, "shell", false))
		}
		answers := func() { _, _ = io.Copy(keepaliveAnswers{c}, w) }
		leave <- struct{}{}
		if _, err := c.Await(sshtest.MsgChannelClose); err != nil {
			t.Fatal(err)
		}
		go answers()
		time.Sleep(2 * shortDeadlines.Idle)
		if w.Closed() {
			t.Fatal("disconnected although one session is open")
		}
		leave <- struct{}{}
		endsAfter(t, w, shortDeadlines.Idle, counts, counters.IdleTime)
	})
}

// keepaliveAnswers answers whatever the server sends, as it were keepalives.
type keepaliveAnswers struct{ c *sshtest.Raw }

func (k keepaliveAnswers) Write(p []byte) (int, error) { return len(p), k.c.Write([]byte{82}) }

// shell opens a session with a shell. The channel that it returns is closed when the session is.
func shell(t testing.TB, client *gossh.Client) (closed chan struct{}) {
	t.Helper()
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !sshtest.Request(t, channel, "shell", nil) {
		t.Fatal("the shell request was refused")
	}
	closed = make(chan struct{})
	go func() {
		defer close(closed)
		gossh.DiscardRequests(requests)
	}()
	return closed
}

// A client that does not answer keepalives is disconnected.
func TestDeadlinesVanished(t *testing.T) {
	cfg := shortDeadlines
	cfg.Idle = time.Hour
	synctest.Test(t, func(t *testing.T) {
		srv, counts := serveDeadlines(t, cfg, whoami)
		w := sshtest.Connect(t, srv)
		w.RawLogin(t)
		endsAfter(t, w, cfg.Keepalive+3*cfg.Keepalive, counts, counters.Vanished)
	})
}

// So is a client that has stopped reading, to which the server cannot send a keepalive. (Not in a bubble: a goroutine that
// waits for a mutex stops its clock.)
func TestDeadlinesVanishedDuringOutput(t *testing.T) {
	cfg := middleware.DeadlinesConfig{Handshake: sshtest.Patience, Idle: time.Hour, Keepalive: 10 * time.Millisecond}
	cfg.Counters = counters.New(counters.Config{Logger: sshtest.NewLog().Logger()})
	srv := &ssh.Server{}
	srv.AddHostKey(sshtest.HostKey(t))
	flood := func(sess ssh.Session) { _, _ = io.CopyN(sess, zeros{}, 1<<20) }
	stack := middleware.NewStack(middleware.Deadlines(cfg), middleware.Open(), middleware.Handler("test", flood))
	stack.Sessions.WriteTimeout = time.Hour
	if err := stack.Install(srv); err != nil {
		t.Fatal(err)
	}
	w := sshtest.Connect(t, srv)
	c := w.RawLogin(t)
	if err := c.Shell(); err != nil {
		t.Fatal(err)
	}
	sshtest.Receive(t, w.Done)
	if got := cfg.Counters.Counts(); got[counters.Vanished] != 1 || len(got) != 1 {
		t.Errorf("counted %v", got)
	}
}

// zeros is an endless stream of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A client that answers keepalives stays connected, however late it answers.
func TestDeadlinesAnswered(t *testing.T) {
	cfg := shortDeadlines
	cfg.Idle = 24 * time.Hour
	for name, delay := range map[string]time.Duration{
		"immediately": 0, "at the last moment": 3*cfg.Keepalive - time.Nanosecond,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, counts := serveDeadlines(t, cfg, whoami)
				w := sshtest.Connect(t, srv)
				c := w.RawLogin(t)
				asked := make(chan int)
				go func() { asked <- answerAll(t, c, delay) }()
				time.Sleep(cfg.Idle - time.Nanosecond)
				if w.Closed() {
					t.Error("disconnected")
				}
				_ = w.Close()
				if got, want := <-asked, int(cfg.Idle/(cfg.Keepalive+delay))-1; got < want {
					t.Errorf("%d keepalives, want %d", got, want)
				}
				if got := counts.Counts(); len(got) != 0 {
					t.Error(got)
				}
			})
		})
	}
}

// answerAll answers keepalives until the connection ends, and returns their number.
func answerAll(t *testing.T, c *sshtest.Raw, delay time.Duration) (n int) {
	for ; ; n++ {
		keepalive, err := c.Await(sshtest.MsgGlobalRequest)
		if err != nil {
			return n
		}
		if want := "\x50\x00\x00\x00\x15keepalive@openssh.com\x01"; string(keepalive) != want {
			t.Errorf("received %q, want %q", keepalive, want)
		}
		time.Sleep(delay)
		_ = c.Write([]byte{82})
	}
}

// A connection that is closed is released: neither a timer nor anything else refers to it.
func TestDeadlinesForget(t *testing.T) {
	for name, visit := range map[string]func(*testing.T, *sshtest.MemoryConn){
		"silent":          func(*testing.T, *sshtest.MemoryConn) {},
		"at the prompt":   func(t *testing.T, w *sshtest.MemoryConn) { w.Raw(t) },
		"authenticated":   func(t *testing.T, w *sshtest.MemoryConn) { w.RawLogin(t) },
		"after a session": func(t *testing.T, w *sshtest.MemoryConn) { <-shell(t, w.Login(t, gossh.Config{})) },
		"after a keepalive": func(t *testing.T, w *sshtest.MemoryConn) {
			w.RawLogin(t)
			time.Sleep(shortDeadlines.Keepalive)
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := sshtest.NewLog()
				cfg := shortDeadlines
				cfg.Counters = counters.New(counters.Config{Logger: log.Logger()})
				conns := make(chan weak.Pointer[tracked], 1)
				srv := newServer(t, middleware.Limits(limits.NewTable(highLimits)), middleware.Deadlines(cfg), middleware.Budgets(&budgets.Budgets{Counters: cfg.Counters}), middleware.Open(), middleware.Handler("test", whoami))
				next := srv.ConnCallback
				srv.ConnCallback = func(ctx ssh.Context, conn net.Conn) net.Conn {
					c := &tracked{conn}
					conns <- weak.Make(c)
					return next(ctx, c)
				}
				w := sshtest.Connect(t, srv)
				visit(t, w)
				_ = w.Close()
				<-w.Done
				if !collected(<-conns) {
					t.Error("a closed connection is still referred to")
				}
				if got := cfg.Counters.Counts(); len(got) != 0 {
					t.Error(got)
				}
			})
		})
	}
}

// tracked is a connection to which a test has a weak pointer.
type tracked struct{ net.Conn }

// collected reports whether the object of p is collected. The runtime releases stopped timers only when it runs others, so
// some time passes here, much less than any deadline.
func collected[T any](p weak.Pointer[T]) bool {
	for range 10 {
		time.Sleep(time.Millisecond)
		synctest.Wait()
		runtime.GC()
		if p.Value() == nil {
			return true
		}
	}
	return false
}

func TestDeadlinesSettings(t *testing.T) {
	const none = "deadlines must be positive"
	for name, tt := range map[string]struct {
		set  func(*middleware.DeadlinesConfig, *ssh.Server)
		want string
	}{
		"handshake": {func(cfg *middleware.DeadlinesConfig, _ *ssh.Server) { cfg.Handshake = 0 }, none},
		"idle":      {func(cfg *middleware.DeadlinesConfig, _ *ssh.Server) { cfg.Idle = -1 }, none},
		"keepalive": {func(cfg *middleware.DeadlinesConfig, _ *ssh.Server) { cfg.Keepalive = 0 }, none},
		"the server has one": {func(_ *middleware.DeadlinesConfig, srv *ssh.Server) { srv.HandshakeTimeout = time.Hour },
			"the server has a handshake timeout already"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, srv := shortDeadlines, &ssh.Server{}
			tt.set(&cfg, srv)
			err := middleware.NewStack(middleware.Open(), middleware.Deadlines(cfg), middleware.Handler("test", whoami)).Install(srv)
			if got := fmt.Sprint(err); got != "layer deadlines: "+tt.want {
				t.Errorf("error %q, want %q", got, tt.want)
			}
		})
	}
}
