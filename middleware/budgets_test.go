package middleware_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/budgets"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/sshtest"
)

func echo(sess ssh.Session) { _, _ = io.Copy(sess, sess) }

// serveBudgets returns a server with Open and Budgets, and its counters.
func serveBudgets(t testing.TB, handler ssh.Handler) (*ssh.Server, *counters.Counters) {
	counts := counters.New(counters.Config{Logger: sshtest.NewLog().Logger()})
	return newServer(t, middleware.Budgets(&budgets.Budgets{Counters: counts}), middleware.Open(), middleware.Handler("test", handler)), counts
}

// checkBudget checks that do succeeds n times in a minute and n times in the next one, and that once more ends the
// connection, for this reason only.
func checkBudget(t *testing.T, w *sshtest.MemoryConn, n int, do func() error, counts *counters.Counters, reason counters.Reason) {
	t.Helper()
	for minute := range 2 {
		for i := range n {
			if err := do(); err != nil || w.Closed() {
				t.Fatalf("minute %d: disconnected after %d, error %v", minute, i, err)
			}
		}
		if minute == 0 {
			time.Sleep(time.Minute)
		}
	}
	_ = do()
	if !w.Closed() {
		t.Error("not disconnected")
	}
	if got := counts.Counts(); got[reason] != 1 || len(got) != 1 {
		t.Errorf("counted %v, want one %s", got, reason)
	}
}

func TestBudgetsPerMinute(t *testing.T) {
	ask := sshtest.Message(sshtest.MsgGlobalRequest, "tcpip-forward", false)
	for name, tt := range map[string]struct {
		n      int
		reason counters.Reason
		do     func(*sshtest.Raw) error
	}{
		"key exchanges":    {10, counters.KeyExchanges, func(c *sshtest.Raw) error { return c.Keys(sshtest.Curve25519) }},
		"global requests":  {120, counters.GlobalRequests, func(c *sshtest.Raw) error { return c.Write(ask) }},
		"unknown channels": {60, counters.ChannelOpens, func(c *sshtest.Raw) error { return openUnknownChannel(c) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, counts := serveBudgets(t, whoami)
				w := sshtest.Connect(t, srv)
				c := w.RawLogin(t)
				time.Sleep(time.Minute) // the first key exchange counts for this minute
				checkBudget(t, w, tt.n, func() error { return tt.do(c) }, counts, tt.reason)
			})
		})
	}
}

// openUnknownChannel opens a channel that is not a session, and checks that it is refused.
func openUnknownChannel(c *sshtest.Raw) error {
	if err := c.Write(sshtest.OpenChannel("direct-tcpip", 1)); err != nil {
		return err
	}
	answer, err := c.Await(sshtest.MsgChannelRefused)
	if err == nil && !bytes.Contains(answer, []byte("there are sessions here, and nothing else")) {
		return fmt.Errorf("answered %q", answer)
	}
	return err
}

// Key exchanges before authentication count too, including the first one.
func TestBudgetsBeforeAuthentication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, counts := serveBudgets(t, whoami)
		w := sshtest.Connect(t, srv)
		c := w.Raw(t)
		for i := range 9 {
			if err := c.Keys(sshtest.Curve25519); err != nil {
				t.Fatalf("after %d: %v", i+1, err)
			}
		}
		if err := c.Keys(sshtest.Curve25519); err == nil || !w.Closed() || counts.Counts()[counters.KeyExchanges] != 1 {
			t.Errorf("error %v, disconnected: %t, counted %v", err, w.Closed(), counts.Counts())
		}
	})
}

// A burst that exceeds a budget many times counts as one connection.
func TestBudgetsCountOnce(t *testing.T) {
	for reason, packet := range map[counters.Reason][]byte{
		counters.GlobalRequests: sshtest.Message(sshtest.MsgGlobalRequest, "x", false),
		counters.ChannelOpens:   sshtest.OpenChannel("x11", 1),
		counters.Received:       append([]byte{sshtest.MsgIgnore}, make([]byte, 30_000)...),
	} {
		t.Run(string(reason), func(t *testing.T) {
			srv, counts := serveBudgets(t, whoami)
			w := sshtest.Connect(t, srv)
			c := w.RawLogin(t)
			var burst bytes.Buffer
			c.Conn = writesTo{c.Conn, &burst}
			for range 500 {
				mustWrite(t, c, packet)
			}
			_, _ = w.Write(burst.Bytes())
			sshtest.Receive(t, w.Done)
			if got := counts.Counts(); got[reason] != 1 || len(got) != 1 {
				t.Errorf("counted %v, want one %s", got, reason)
			}
		})
	}
}

// writesTo is a connection whose writes go to another writer.
type writesTo struct {
	net.Conn
	io.Writer
}

func (w writesTo) Write(p []byte) (int, error) { return w.Writer.Write(p) }

// A key exchange counts, whatever its method.
func TestBudgetsEveryKeyExchange(t *testing.T) {
	all := []string{ // one of each kind
		gossh.KeyExchangeMLKEM768X25519, gossh.KeyExchangeCurve25519, gossh.KeyExchangeECDHP256,
		gossh.KeyExchangeDH14SHA256, gossh.KeyExchangeDHGEXSHA256,
	}
	allow := configures(func(cfg *gossh.ServerConfig) {
		cfg.KeyExchanges = slices.Clone(all)
	})
	for _, method := range all {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			counts := counters.New(counters.Config{Logger: sshtest.NewLog().Logger()})
			w := sshtest.Connect(t, newServer(t, middleware.Budgets(&budgets.Budgets{Counters: counts}), middleware.Open(), allow, middleware.Handler("test", echo)))
			sess, err := w.Login(t, gossh.Config{KeyExchanges: []string{method}, RekeyThreshold: 256}).NewSession()
			if err != nil {
				t.Fatal(err)
			}
			sess.Stdin = io.LimitReader(zeros{}, 64<<20)
			if err := sess.Run("cat"); err == nil {
				t.Fatal("not disconnected")
			}
			sshtest.Receive(t, w.Done)
			if got := counts.Counts(); got[counters.KeyExchanges] != 1 || len(got) != 1 {
				t.Errorf("counted %v, want one key-exchanges", got)
			}
		})
	}
}

// unwanted are packets that no session reads.
var unwanted = map[string]func(size int) []byte{
	"SSH_MSG_IGNORE": func(size int) []byte { return sshtest.Message(sshtest.MsgIgnore, string(make([]byte, size))) },
	"SSH_MSG_DEBUG":  func(size int) []byte { return sshtest.Message(sshtest.MsgDebug, false, string(make([]byte, size))) },
	"ping":           func(size int) []byte { return sshtest.Message(sshtest.MsgPing, string(make([]byte, size))) },
	"requests on a channel that does not exist": func(int) []byte {
		return sshtest.Message(sshtest.MsgChannelRequest, uint32(77), "shell", false, make([]byte, 200))
	},
}

// A client may send 4 MiB that no session reads, and 256 KiB before authentication.
func TestBudgetsReceived(t *testing.T) {
	for name, packet := range unwanted {
		t.Run(name, func(t *testing.T) { unwantedBytes(t, 4<<20, packet, (*sshtest.MemoryConn).RawLogin) })
	}
	for _, name := range []string{"SSH_MSG_IGNORE", "SSH_MSG_DEBUG"} {
		t.Run(name+" before authentication", func(t *testing.T) { unwantedBytes(t, 256<<10, unwanted[name], (*sshtest.MemoryConn).Raw) })
	}
}

// unwantedBytes sends packets until the server disconnects, and checks that this happens after about most bytes.
func unwantedBytes(t *testing.T, most int, packet func(size int) []byte, enter func(*sshtest.MemoryConn, testing.TB) *sshtest.Raw) {
	synctest.Test(t, func(t *testing.T) {
		srv, counts := serveBudgets(t, func(sess ssh.Session) { <-sess.Context().Done() })
		w := sshtest.Connect(t, srv)
		c := enter(w, t)
		go func() { _, _ = io.Copy(io.Discard, w) }()
		sent, small := 0, counter{c.Conn, new(int)}
		c.Conn = small
		for !w.Closed() && sent <= most+(64<<10) {
			_ = c.Write(packet(30_000))
			sent = *small.n
		}
		if sent < most-(64<<10) || sent > most+(64<<10) {
			t.Errorf("disconnected after %d bytes, want %d", sent, most)
		}
		if got := counts.Counts(); got[counters.Received] != 1 || len(got) != 1 {
			t.Errorf("counted %v", got)
		}
	})
}

// counter is a connection that counts the bytes that are written.
type counter struct {
	net.Conn
	n *int
}

func (c counter) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	*c.n += n
	return n, err
}

// x/crypto v0.59.0 keeps the error of every attempt until a client is authenticated, and quotes the client in it: a byte
// that is not a printable character takes four.
func TestBudgetsOfRememberedErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, counts := serveBudgets(t, whoami)
		w := sshtest.Connect(t, srv)
		c := w.Raw(t)
		const enough = 2 // attempts, of 30 kB and 120 kB of error each
		for n := 1; !w.Closed(); n++ {
			if _, err := c.Attempt("guest", "ssh-connection", strings.Repeat("\x80", 30_000), nil); err == nil && n == enough {
				t.Fatalf("not disconnected after %d attempts", n)
			}
			synctest.Wait()
		}
		if got := counts.Counts(); got[counters.Received] != 1 || len(got) != 1 {
			t.Errorf("counted %v", got)
		}
	})
}

// The count starts again when the client is authenticated.
func TestBudgetsAfterAuthentication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, counts := serveBudgets(t, whoami)
		w := sshtest.Connect(t, srv)
		c := w.Raw(t)
		send := func(n int) {
			for range n / 30_000 {
				mustWrite(t, c, unwanted["SSH_MSG_IGNORE"](30_000))
			}
		}
		send(256<<10 - 64<<10)
		if in, err := c.Attempt("guest", "ssh-connection", "none", nil); !in || err != nil {
			t.Fatalf("authenticated: %t, error: %v", in, err)
		}
		send(4<<20 - 64<<10)
		if w.Closed() || len(counts.Counts()) != 0 {
			t.Errorf("disconnected: %t, counted %v", w.Closed(), counts.Counts())
		}
	})
}

// There is no budget for bytes that a session reads.
func TestBudgetsOfReadData(t *testing.T) {
	counts := counters.New(counters.Config{Logger: sshtest.NewLog().Logger()})
	srv := sshtest.Serve(t, middleware.Budgets(&budgets.Budgets{Counters: counts}), middleware.Open(), middleware.Handler("test", echo))
	const size = 64 << 20
	sess, err := dial(t, srv, "guest").NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var back written
	sess.Stdin, sess.Stdout = io.LimitReader(zeros{}, size), &back
	if err := sess.Run("cat"); err != nil || back != size {
		t.Errorf("received %d bytes, error %v, counted %v", back, err, counts.Counts())
	}
}

// written counts what is written to it.
type written int64

func (w *written) Write(p []byte) (int, error) { *w += written(len(p)); return len(p), nil }

// A client may send a session that reads nothing as much as its window. One byte more ends the connection.
func TestBudgetsOfUnreadData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, counts := serveBudgets(t, func(sess ssh.Session) { <-sess.Context().Done() })
		w := sshtest.Connect(t, srv)
		c := w.RawLogin(t)
		if err := c.Shell(); err != nil {
			t.Fatal(err)
		}
		data := func(size int) []byte {
			return sshtest.Message(sshtest.MsgChannelData, uint32(0), string(make([]byte, size)))
		}
		for range 2 << 20 / (32 << 10) {
			mustWrite(t, c, data(32<<10))
		}
		if w.Closed() {
			t.Fatal("disconnected within the window")
		}
		_ = c.Write(data(1))
		if !w.Closed() || len(counts.Counts()) != 0 {
			t.Errorf("beyond the window: disconnected: %t, counted %v", w.Closed(), counts.Counts())
		}
	})
}

// A counted host key signs with each algorithm that clients request.
func TestBudgetsHostKeys(t *testing.T) {
	key := newRSA(t)
	rsaKey := func(srv *ssh.Server) error { srv.AddHostKey(key); return nil }
	for set, algorithms := range map[string][]string{
		"":       {gossh.KeyAlgoED25519, gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSA},
		"strict": {gossh.KeyAlgoED25519, gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256},
	} {
		layers := []middleware.Layer{middleware.Budgets(&budgets.Budgets{}), middleware.Open()}
		if set != "" {
			layers = slices.Insert(layers, 1, middleware.Algorithms(set))
		}
		srv := sshtest.Start(t, rsaKey, middleware.NewStack(append(layers, middleware.Handler("test", whoami))...).Install)
		for _, algorithm := range algorithms {
			client, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
				User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(), HostKeyAlgorithms: []string{algorithm},
			})
			if err != nil {
				t.Errorf("algorithms %q, %s: %v", set, algorithm, err)
				continue
			}
			_ = client.Close()
		}
	}
}

// A host key that implements gossh.Signer only is counted too.
func TestBudgetsPlainHostKey(t *testing.T) {
	counts := counters.New(counters.Config{Logger: sshtest.NewLog().Logger()})
	plain := func(srv *ssh.Server) error { srv.AddHostKey(struct{ gossh.Signer }{sshtest.HostKey(t)}); return nil }
	srv := &ssh.Server{}
	for _, option := range []ssh.Option{plain, middleware.NewStack(middleware.Budgets(&budgets.Budgets{Counters: counts}), middleware.Open(), middleware.Handler("test", whoami)).Install} {
		if err := option(srv); err != nil {
			t.Fatal(err)
		}
	}
	w := sshtest.Connect(t, srv)
	c := w.RawLogin(t)
	for range 10 {
		_ = c.Keys(sshtest.Curve25519)
	}
	sshtest.Receive(t, w.Done)
	if got := counts.Counts(); got[counters.KeyExchanges] != 1 || len(got) != 1 {
		t.Errorf("counted %v, want one key-exchanges", got)
	}
}

// The cost of each layer for a connection that sends nothing, and for one with a handshake.
func BenchmarkConnection(b *testing.B) {
	counts := counters.New(counters.Config{Logger: sshtest.NewLog().Logger()})
	limits, deadlines := middleware.Limits(limits.NewTable(highLimits)), middleware.Deadlines(shortDeadlines)
	for _, bench := range []struct {
		name   string
		layers []middleware.Layer
	}{
		{"none", nil},
		{"limits", []middleware.Layer{limits}},
		{"deadlines", []middleware.Layer{deadlines}},
		{"budgets", []middleware.Layer{middleware.Budgets(&budgets.Budgets{Counters: counts})}},
		{"all", []middleware.Layer{limits, deadlines, middleware.Budgets(&budgets.Budgets{Counters: counts})}},
	} {
		srv := newServer(b, append(append(bench.layers, middleware.Open()), middleware.Handler("test", whoami))...)
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				serveSilent(srv)
			}
		})
		b.Run(bench.name+"/handshake", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := sshtest.Connect(silentTB{b}, srv)
				_ = w.Login(b, gossh.Config{}).Close()
				<-w.Done
			}
		})
	}
}

// silentTB has no cleanups, of which a benchmark would have too many.
type silentTB struct{ testing.TB }

func (silentTB) Cleanup(func()) {}

// serveSilent serves a connection without a handshake: it is accepted, authenticated and closed.
func serveSilent(srv *ssh.Server) {
	ctx := &fakeContext{}
	conn := srv.ConnCallback(ctx, newSpeaking())
	cfg := srv.ServerConfigCallback(ctx)
	if cfg.AuthLogCallback != nil {
		cfg.AuthLogCallback(nil, "none", nil)
	}
	srv.ConnectionCloseCallback(&struct{ net.Conn }{conn}) // as the library wraps it
}
