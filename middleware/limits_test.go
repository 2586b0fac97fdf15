package middleware_test

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/sshtest"
)

// roomy has limits that none of these tests reaches by chance.
var roomy = limits.Config{
	Max: 1000, MaxPerSource: 1000, MaxUnauthenticated: 500, MaxUnauthenticatedPerSource: 500,
	MaxSessions: 10, MaxSessionsEver: 1000,
}

// limited returns a table with limits that set has changed.
func limited(set func(*limits.Config)) *limits.Table {
	cfg := roomy
	cfg.Counters = counters.New(counters.Config{Logger: sshtest.NewLog().Logger()})
	set(&cfg)
	return limits.NewTable(cfg)
}

// empty waits until nobody has a place in the table.
func empty(t testing.TB, table *limits.Table) {
	t.Helper()
	sshtest.Eventually(t, "the table is not empty", func() bool {
		conns, sources := table.Len()
		return conns == 0 && sources == 0
	})
}

// Silence pushes out neither a person who is at the password prompt nor a session, and keeps nobody from logging in.
func TestLimitsSilentFlood(t *testing.T) {
	const flood, room = 1000, 100
	table := limited(func(cfg *limits.Config) {
		cfg.Max, cfg.MaxPerSource, cfg.MaxUnauthenticated, cfg.MaxUnauthenticatedPerSource = 2*room, 2*room, room, room
	})
	here, leave := make(chan struct{}), make(chan struct{})
	waits := func(sess ssh.Session) { here <- struct{}{}; <-leave; whoami(sess) }
	right := checks(func(_, password string) bool { return password == "right" })
	srv := sshtest.Serve(t, middleware.Limits(table), right, middleware.Handler("test", waits))
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
	person := srv.DialRaw(t)
	silent := make([]net.Conn, flood)
	for i := range silent {
		silent[i] = srv.DialTCP(t)
	}
	// The server accepts in a goroutine each, in any order: nobody is to come between the visitor and the key exchange.
	sshtest.Eventually(t, "not enough connections were evicted", func() bool { return table.Counters.Counts()[counters.SourceUnauthenticated] >= flood-room })
	during := visit()
	if in, err := person.Password("guest", "right"); !in || err != nil {
		t.Errorf("the person at the prompt was let in: %t, error %v", in, err)
	}
	close(leave)
	expect(t, sshtest.Receive(t, before), sshtest.Result{Stdout: "guest"})
	expect(t, sshtest.Receive(t, during), sshtest.Result{Stdout: "guest"})
	if got := table.Counters.Counts(); len(got) != 1 {
		t.Errorf("counted %v", got)
	}
	for _, conn := range append(silent, person.Conn) {
		_ = conn.Close()
	}
	empty(t, table)
}

// Every place is free again, however it was left.
func TestLimitsPlaces(t *testing.T) {
	for name, inner := range map[string]middleware.Layer{
		"nothing happens":              {},
		"an inner refusal":             connects(func(*middleware.Conn) error { return errors.New("no") }),
		"a panic at the door":          connects(func(*middleware.Conn) error { panic("boom") }),
		"a panic before the handshake": configures(func(*gossh.ServerConfig) { panic("boom") }),
		"a panic at an attempt": configures(func(cfg *gossh.ServerConfig) {
			cfg.AuthLogCallback = func(gossh.ConnMetadata, string, error) { panic("boom") }
		}),
		"a panic in a session": {Session: func(ssh.Handler) ssh.Handler { return func(ssh.Session) { panic("boom") } }},
		"a panic at the end": {Connect: func(*middleware.Conn) (middleware.Moments, error) {
			return middleware.Moments{Closed: func(error) { panic("boom") }}, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			captureLibraryLog(t)
			table := limited(func(*limits.Config) {})
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

// The session over the limit is refused in words, and the others go on. A session has its place until its client has
// confirmed that it is over.
func TestLimitsSessionsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := limited(func(*limits.Config) {})
		w := sshtest.Connect(t, newServer(t, middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami)))
		c := w.RawLogin(t)
		for id := range uint32(10) {
			if refused := openSession(t, c, id); refused != "" {
				t.Fatalf("session %d is refused: %s", id, refused)
			}
		}
		const want = "too many sessions at once on this connection"
		if refused := openSession(t, c, 10); refused != want {
			t.Errorf("one more is answered with %q", refused)
		}
		mustWrite(t, c, sshtest.Message(sshtest.MsgChannelRequest, uint32(3), "shell", false))
		if _, err := c.Await(sshtest.MsgChannelClose); err != nil {
			t.Fatal(err)
		}
		if refused := openSession(t, c, 10); refused != want {
			t.Errorf("one more before a close is confirmed is answered with %q", refused)
		}
		mustWrite(t, c, sshtest.Message(sshtest.MsgChannelClose, uint32(3)))
		synctest.Wait()
		if refused := openSession(t, c, 10); refused != "" {
			t.Errorf("one more after it is answered with %q", refused)
		}
		if got := table.Counters.Counts(); got[counters.Sessions] != 2 || len(got) != 1 || w.Closed() {
			t.Errorf("counted %v; hung up on: %t", got, w.Closed())
		}
	})
}

// openSession asks for a session, and returns the words in which it is refused.
func openSession(t testing.TB, c *sshtest.Raw, id uint32) (refused string) {
	t.Helper()
	mustWrite(t, c, sshtest.OpenChannel("session", id))
	answer, err := c.Await(sshtest.MsgChannelConfirmed, sshtest.MsgChannelRefused)
	if err != nil {
		t.Fatal(err)
	}
	var msg struct {
		Channel, Reason uint32 `sshtype:"92"`
		Words, Language string
	}
	if answer[0] == sshtest.MsgChannelRefused {
		if err := gossh.Unmarshal(answer, &msg); err != nil {
			t.Fatal(err)
		}
	}
	return msg.Words
}

// One after the other there are a thousand, and then the connection is over.
func TestLimitsSessionsEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := limited(func(*limits.Config) {})
		w := sshtest.Connect(t, newServer(t, middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami)))
		client := w.Login(t, gossh.Config{})
		for range roomy.MaxSessionsEver {
			<-shell(t, client)
			synctest.Wait() // until the close that the client has confirmed has arrived
		}
		if w.Closed() {
			t.Fatal("hung up on too early")
		}
		if _, _, err := client.OpenChannel("session", nil); err == nil {
			t.Error("one more is let in")
		}
		if got := table.Counters.Counts(); got[counters.SessionsEver] != 1 || len(got) != 1 || !w.Closed() {
			t.Errorf("counted %v; hung up on: %t", got, w.Closed())
		}
		empty(t, table)
	})
}

// A client that asks for sessions and takes no answers has two dozen of them underway when it is hung up on, and none
// afterwards. (Not in a bubble: who waits for a mutex keeps its time from passing.)
func TestLimitsSessionsThatPileUp(t *testing.T) {
	var now, ever atomic.Int64
	counted := middleware.Layer{Connect: func(*middleware.Conn) (middleware.Moments, error) {
		return middleware.Moments{
			Open: func(gossh.NewChannel, int) error { now.Add(1); ever.Add(1); return nil },
			Left: func(string) { now.Add(-1) },
		}, nil
	}}
	table := limited(func(*limits.Config) {})
	w := sshtest.Connect(t, newServer(t, counted, middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami)))
	c := w.RawLogin(t)
	w.ToClient.Fill()
	for id := int64(1); id <= 1000 && c.Write(sshtest.OpenChannel("session", uint32(id))) == nil; id++ {
		sshtest.Eventually(t, "a session is neither opened nor refused", func() bool { return ever.Load() == id || isClosed(w.Done) })
	}
	sshtest.Receive(t, w.Done)
	sshtest.Eventually(t, "not all sessions ended", func() bool { return now.Load() == 0 })
	if got := ever.Load(); got > 3*int64(roomy.MaxSessions) {
		t.Errorf("%d sessions were underway", got)
	}
	empty(t, table)
}

// Who was pushed out in silence has done nothing that would cost the source something. Who had tried a password has.
func TestLimitsCostNoPenalty(t *testing.T) {
	one := func(cfg *limits.Config) { cfg.MaxUnauthenticated = 1 }
	t.Run("silent", func(t *testing.T) {
		d := guard(t, middleware.PenaltiesConfig{}, middleware.Limits(limited(one)))
		for range 40 {
			d.Server.DialTCP(t)
		}
		for range 39 {
			sshtest.Receive(t, d.closed)
		}
		expect(t, d.Visit(t, sshtest.Visit{Password: "right"}), sshtest.Result{Stdout: "guest"})
	})
	t.Run("at the prompt", func(t *testing.T) {
		d := guard(t, middleware.PenaltiesConfig{}, middleware.Limits(limited(one)))
		for range 40 {
			d.Server.DialRaw(t)
		}
		for range 39 {
			sshtest.Receive(t, d.closed)
		}
		expect(t, d.Visit(t, sshtest.Visit{Password: "right"}), sshtest.Result{Stdout: "guest"})
	})
	t.Run("after a guess", func(t *testing.T) {
		d := guard(t, middleware.PenaltiesConfig{}, middleware.Limits(limited(one)))
		for range 5 {
			if _, err := d.Server.DialRaw(t).Password("guest", "wrong"); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			sshtest.Receive(t, d.closed)
		}
		if !d.refused("127.0.0.1") {
			t.Error("four guesses were free")
		}
	})
}

func TestLimitsNeedATable(t *testing.T) {
	err := middleware.NewStack(middleware.Open(), middleware.Limits(nil), middleware.Handler("test", whoami)).Install(&ssh.Server{})
	if err == nil || err.Error() != "layer limits: no table" {
		t.Errorf("error %v", err)
	}
}
