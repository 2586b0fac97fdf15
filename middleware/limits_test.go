package middleware_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/penalties"
	"foyer/middleware/sshtest"
)

// highLimits has limits that no test reaches by accident.
var highLimits = limits.Config{
	Max: 1000, MaxPerSource: 1000, MaxUnauthenticated: 500, MaxUnauthenticatedPerSource: 500,
	MaxSessions: 10, MaxSessionsEver: 1000,
}

// newTable returns a table with the high limits, as changed by set.
func newTable(set func(*limits.Config)) *limits.Table {
	cfg := highLimits
	cfg.Counters = counters.New(counters.Config{Logger: sshtest.NewLog().Logger()})
	set(&cfg)
	return limits.NewTable(cfg)
}

// empty waits until the table has no connections.
func empty(t testing.TB, table *limits.Table) {
	t.Helper()
	sshtest.Eventually(t, "the table is not empty", func() bool {
		conns, sources := table.Len()
		return conns == 0 && sources == 0
	})
}

// Silent connections evict neither a client at the password prompt nor a session, and they do not prevent logins.
func TestLimitsSilentFlood(t *testing.T) {
	const flood, room = 1000, 100
	table := newTable(func(cfg *limits.Config) {
		cfg.Max, cfg.MaxPerSource, cfg.MaxUnauthenticated, cfg.MaxUnauthenticatedPerSource = 2*room, 2*room, room, room
	})
	here, leave := make(chan struct{}), make(chan struct{})
	wait := func(sess ssh.Session) { here <- struct{}{}; <-leave; whoami(sess) }
	right := passwordLayer(func(_, password string) bool { return password == "right" })
	srv := sshtest.Serve(t, middleware.Limits(table), right, middleware.Handler("test", wait))
	visit := func() chan sshtest.Result {
		client, err := srv.Dial("guest", "right")
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan sshtest.Result, 1)
		go func() {
			defer func() { _ = client.Close() }()
			result <- sshtest.Run(t, client, sshtest.Visit{})
		}()
		<-here
		return result
	}

	before := visit()
	prompted := srv.DialRaw(t)
	silent := make([]net.Conn, flood)
	for i := range silent {
		silent[i] = srv.DialTCP(t)
	}
	// The server accepts connections concurrently: all of them have to be in the table before the next client connects.
	sshtest.Eventually(t, "not enough connections were evicted", func() bool { return table.Counters.Counts()[counters.SourceUnauthenticated] >= flood-room })
	during := visit()
	if in, err := prompted.Password("guest", "right"); !in || err != nil {
		t.Errorf("the client at the prompt was authenticated: %t, error: %v", in, err)
	}
	close(leave)
	expect(t, sshtest.Receive(t, before), sshtest.Result{Stdout: "guest"})
	expect(t, sshtest.Receive(t, during), sshtest.Result{Stdout: "guest"})
	if got := table.Counters.Counts(); len(got) != 1 {
		t.Errorf("counted %v", got)
	}
	for _, conn := range append(silent, prompted.Conn) {
		_ = conn.Close()
	}
	empty(t, table)
}

// The table is empty after every connection, however it ends.
func TestLimitsReleasePlaces(t *testing.T) {
	for name, inner := range map[string]middleware.Layer{
		"nothing happens":             {},
		"a refusal by an inner layer": connects(func(*middleware.Conn) error { return errors.New("no") }),
		"a panic in Connect":          connects(func(*middleware.Conn) error { panic("boom") }),
		"a panic in Configure":        configures(func(*gossh.ServerConfig) { panic("boom") }),
		"a panic in AuthLogCallback": configures(func(cfg *gossh.ServerConfig) {
			cfg.AuthLogCallback = func(gossh.ConnMetadata, string, error) { panic("boom") }
		}),
		"a panic in a session": {Session: func(ssh.Handler) ssh.Handler { return func(ssh.Session) { panic("boom") } }},
		"a panic in Closed": {Connect: func(*middleware.Conn) (middleware.Moments, error) {
			return middleware.Moments{Closed: func(error) { panic("boom") }}, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			captureLibraryLog(t)
			table := newTable(func(*limits.Config) {})
			srv := sshtest.Serve(t, middleware.Limits(table), middleware.Open(), inner, middleware.Handler("test", whoami))
			for range 3 {
				_ = srv.DialTCP(t).Close()
				if client, err := srv.Dial("guest", ""); err == nil {
					if sess, err := client.NewSession(); err == nil {
						_ = sess.Run("")
					}
					_ = client.Close()
				}
			}
			empty(t, table)
		})
	}
}

// The session over the limit is refused with a reason, and the others go on. A session counts until its client has
// confirmed the close.
func TestLimitsSessionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(func(*limits.Config) {})
		w := sshtest.Connect(t, newServer(t, middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami)))
		c := w.RawLogin(t)
		for id := range uint32(10) {
			if refused := openSession(t, c, id); refused != "" {
				t.Fatalf("session %d is refused: %s", id, refused)
			}
		}
		const want = "too many sessions at once on this connection"
		if refused := openSession(t, c, 10); refused != want {
			t.Errorf("one more session: %q, want %q", refused, want)
		}
		mustWrite(t, c, sshtest.Message(sshtest.MsgChannelRequest, uint32(3), "shell", false))
		if _, err := c.Await(sshtest.MsgChannelClose); err != nil {
			t.Fatal(err)
		}
		if refused := openSession(t, c, 10); refused != want {
			t.Errorf("one more session before the close is confirmed: %q, want %q", refused, want)
		}
		mustWrite(t, c, sshtest.Message(sshtest.MsgChannelClose, uint32(3)))
		synctest.Wait()
		if refused := openSession(t, c, 10); refused != "" {
			t.Errorf("one more session after the close is confirmed is refused: %s", refused)
		}
		if got := table.Counters.Counts(); got[counters.Sessions] != 2 || len(got) != 1 || w.Closed() {
			t.Errorf("counted %v; disconnected: %t", got, w.Closed())
		}
	})
}

// All connections together have a limit of sessions beyond the first one of each, which nobody can take away.
func TestLimitsSessionsInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(func(cfg *limits.Config) { cfg.Max = 3 })
		srv := newServer(t, middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami))
		greedy := sshtest.Connect(t, srv)
		c := greedy.RawLogin(t)
		for id := range uint32(4) {
			if refused := openSession(t, c, id); refused != "" {
				t.Fatalf("session %d is refused: %s", id, refused)
			}
		}
		const want = "too many sessions at the moment, please try again in a minute"
		other := sshtest.Connect(t, srv).RawLogin(t)
		for id, want := range []string{"", want} {
			if refused := openSession(t, other, uint32(id)); refused != want {
				t.Errorf("session %d of another connection: %q, want %q", id, refused, want)
			}
		}
		if got := table.Counters.Counts(); got[counters.SessionsInAll] != 1 || len(got) != 1 {
			t.Errorf("counted %v", got)
		}
		mustWrite(t, c, sshtest.Message(sshtest.MsgChannelRequest, uint32(3), "shell", false))
		if _, err := c.Await(sshtest.MsgChannelClose); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, c, sshtest.Message(sshtest.MsgChannelClose, uint32(3)))
		synctest.Wait()
		if refused := openSession(t, other, 1); refused != "" {
			t.Errorf("after a session is closed: %s", refused)
		}
		_ = greedy.Close()
		synctest.Wait()
		for id := range uint32(2) {
			if refused := openSession(t, other, id+2); refused != "" {
				t.Errorf("after a connection is closed: %s", refused)
			}
		}
	})
}

// openSession opens a session, and returns the reason where it is refused.
func openSession(t testing.TB, c *sshtest.Raw, id uint32) (refused string) {
	t.Helper()
	mustWrite(t, c, sshtest.OpenChannel("session", id))
	answer, err := c.Await(sshtest.MsgChannelConfirmed, sshtest.MsgChannelRefused)
	if err != nil {
		t.Fatal(err)
	}
	var msg struct {
		Channel, Reason uint32 `sshtype:"92"`
		Text, Language  string
	}
	if answer[0] == sshtest.MsgChannelRefused {
		if err := gossh.Unmarshal(answer, &msg); err != nil {
			t.Fatal(err)
		}
	}
	return msg.Text
}

// A connection ends with the session that exceeds the total number of sessions.
func TestLimitsSessionsEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable(func(*limits.Config) {})
		w := sshtest.Connect(t, newServer(t, middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami)))
		client := w.Login(t, gossh.Config{})
		for range highLimits.MaxSessionsEver {
			<-shell(t, client)
			synctest.Wait() // until the server has received the client's close
		}
		if w.Closed() {
			t.Fatal("disconnected too early")
		}
		if _, _, err := client.OpenChannel("session", nil); err == nil {
			t.Error("one more session is accepted")
		}
		if got := table.Counters.Counts(); got[counters.SessionsEver] != 1 || len(got) != 1 || !w.Closed() {
			t.Errorf("counted %v; disconnected: %t", got, w.Closed())
		}
		empty(t, table)
	})
}

// A client that opens sessions and does not read the replies is disconnected after a few dozen, and none of them is left.
// (Not in a bubble: a goroutine that waits for a mutex stops its clock.)
func TestLimitsSessionsWithUnreadReplies(t *testing.T) {
	var now, ever atomic.Int64
	counted := middleware.Layer{Connect: func(*middleware.Conn) (middleware.Moments, error) {
		return middleware.Moments{
			Open: func(gossh.NewChannel, int) error { now.Add(1); ever.Add(1); return nil },
			Left: func(string) { now.Add(-1) },
		}, nil
	}}
	table := newTable(func(*limits.Config) {})
	w := sshtest.Connect(t, newServer(t, counted, middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami)))
	c := w.RawLogin(t)
	w.ToClient.Fill()
	for id := int64(1); id <= 1000 && c.Write(sshtest.OpenChannel("session", uint32(id))) == nil; id++ {
		sshtest.Eventually(t, "a session is neither opened nor refused", func() bool { return ever.Load() == id || isClosed(w.Done) })
	}
	sshtest.Receive(t, w.Done)
	sshtest.Eventually(t, "not all sessions ended", func() bool { return now.Load() == 0 })
	if got := ever.Load(); got > 3*int64(highLimits.MaxSessions) {
		t.Errorf("%d sessions were opened", got)
	}
	empty(t, table)
}

// A client that others evict pays nothing, unless it had tried a password. One that its own source's next ones evict pays
// like one that left, or connecting again and again would be free.
func TestLimitsAndPenalties(t *testing.T) {
	all := func(cfg *limits.Config) { cfg.MaxUnauthenticated = 1 }
	source := func(cfg *limits.Config) { cfg.MaxUnauthenticatedPerSource = 1 }
	silent := func(t *testing.T, srv *sshtest.Server) { srv.DialTCP(t) }
	asking := func(t *testing.T, srv *sshtest.Server) { srv.DialRaw(t) }
	guessing := func(t *testing.T, srv *sshtest.Server) {
		if _, err := srv.DialRaw(t).Password("guest", "wrong"); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		limit   func(*limits.Config)
		connect func(*testing.T, *sshtest.Server)
		times   int
		blocked bool
	}{
		"silent":              {all, silent, 40, false},
		"at the prompt":       {all, asking, 40, false},
		"guessing":            {all, guessing, 5, true},
		"silent, one source":  {source, silent, 17, true},
		"asking, one source":  {source, asking, 17, true},
		"guesses, one source": {source, guessing, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := servePenalties(t, penalties.Config{}, middleware.Limits(newTable(tt.limit)))
			for range tt.times {
				tt.connect(t, d.Server)
			}
			for range tt.times - 1 {
				sshtest.Receive(t, d.closed)
			}
			if got := d.refused("127.0.0.1"); got != tt.blocked {
				t.Errorf("the source is blocked: %t", got)
			}
			if !tt.blocked {
				expect(t, d.Visit(t, sshtest.Visit{Password: "right"}), sshtest.Result{Stdout: "guest"})
			}
		})
	}
}

func TestLimitsNeedATable(t *testing.T) {
	err := middleware.NewStack(middleware.Open(), middleware.Limits(nil), middleware.Handler("test", whoami)).Install(&ssh.Server{})
	if err == nil || err.Error() != "layer limits: no table" {
		t.Errorf("error %v", err)
	}
}

// blockingKey is a host key whose signatures take until the test permits them, as if key exchanges were expensive.
type blockingKey struct {
	gossh.Signer
	signing chan<- struct{} // one for each signature that begins
	permit  <-chan struct{}
}

func (k blockingKey) Sign(random io.Reader, data []byte) (*gossh.Signature, error) {
	k.signing <- struct{}{}
	<-k.permit
	return k.Signer.Sign(random, data)
}

// While one source floods the server with key exchanges, a newcomer's is next. Four for each CPU are computed at once. Logins
// do not count: who logs in often is not behind.
func TestLimitsKeyExchangesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		signing, permit := make(chan struct{}, 100), make(chan struct{})
		srv := &ssh.Server{}
		srv.AddHostKey(blockingKey{sshtest.HostKey(t), signing, permit})
		table := newTable(func(*limits.Config) {})
		if err := middleware.NewStack(middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami)).Install(srv); err != nil {
			t.Fatal(err)
		}
		served := make(chan string, 100)
		exchange := func(from string, do func(*sshtest.MemoryConn)) {
			conn := sshtest.ConnectFrom(t, srv, &net.TCPAddr{IP: net.ParseIP(from), Port: 1})
			go func() { do(conn); served <- from }()
			synctest.Wait()
		}
		keysOnly := func(conn *sshtest.MemoryConn) { _ = sshtest.NewRaw(conn).Handshake("SSH-2.0-raw", sshtest.Curve25519) }
		login := func(conn *sshtest.MemoryConn) { conn.RawLogin(t) }
		const often, flooder, visitor = "192.0.2.1", "192.0.2.66", "192.0.2.7"
		for range 5 {
			exchange(often, login)
			permit <- struct{}{}
			synctest.Wait()
			<-served
		}
		for range 20 {
			exchange(flooder, keysOnly)
		}
		exchange(often, login)
		exchange(visitor, login)
		if len(signing) != 5+4 {
			t.Errorf("%d key exchanges at once", len(signing)-5)
		}
		for _, want := range []string{flooder, flooder, flooder, flooder, often, visitor, flooder} {
			permit <- struct{}{}
			synctest.Wait()
			if got := <-served; got != want {
				t.Errorf("%s is served, want %s", got, want)
			}
		}
		close(permit)
	})
}
