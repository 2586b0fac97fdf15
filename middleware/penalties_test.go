package middleware_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/penalties"
	"foyer/middleware/source"
	"foyer/middleware/sshtest"
)

// penaltyServer is a server with a Penalties layer, on a clock that only the test advances.
type penaltyServer struct {
	*sshtest.Server
	t      testing.TB
	log    *sshtest.Log
	counts *counters.Counters
	now    atomic.Int64  // of the clock
	closed chan struct{} // receives once for each connection that has ended or was refused
}

func trackerOf(t testing.TB, cfg penalties.Config) *penalties.Tracker {
	t.Helper()
	tracker, err := penalties.NewTracker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tracker
}

// servePenalties serves whoami inside of Penalties and layers. The password of every user is "right".
func servePenalties(t testing.TB, cfg penalties.Config, layers ...middleware.Layer) *penaltyServer {
	t.Helper()
	d := &penaltyServer{t: t, log: sshtest.NewLog(), closed: make(chan struct{}, 1000)}
	cfg.Logger = d.log.Logger()
	d.counts = counters.New(counters.Config{Logger: cfg.Logger})
	cfg.Refused = d.counts.CountPenalty
	cfg.Now = func() time.Time { return time.Unix(0, d.now.Load()) }
	end := notifyClosed(d.closed)
	right := passwordLayer(func(_, password string) bool { return password == "right" })
	layers = append([]middleware.Layer{end, middleware.Penalties(trackerOf(t, cfg))}, layers...)
	d.Server = sshtest.Serve(t, append(append(layers, right), middleware.Handler("test", whoami))...)
	return d
}

// guess fails to authenticate.
func (d *penaltyServer) guess() {
	d.t.Helper()
	client := d.Server.DialRaw(d.t)
	if in, err := client.Password("guest", "wrong"); in || err != nil {
		d.t.Fatalf("authenticated: %t, error: %v", in, err)
	}
	_ = client.Conn.Close()
	sshtest.Receive(d.t, d.closed)
}

// refused reports whether the server tells a client from addr that it is not allowed. Otherwise the client leaves.
func (d *penaltyServer) refused(addr string) bool {
	d.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	conn, err := dialer.Dial("tcp", d.Address)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(sshtest.Patience))
	first := make([]byte, 100)
	n, err := conn.Read(first)
	_, _ = io.WriteString(conn, "SSH-2.0-scan\r\n") // who leaves without a byte costs nothing
	sshtest.HalfClose(conn)
	rest, _ := io.ReadAll(conn)
	_ = conn.Close()
	sshtest.Receive(d.t, d.closed)
	if err != nil && err != io.EOF { // another layer has refused it
		d.t.Fatalf("neither accepted nor told: %v", err)
	}
	return strings.Contains(string(first[:n])+string(rest), "Not allowed at this time")
}

// lines returns the lines of the log that report a block.
func (d *penaltyServer) lines() string {
	var lines []string
	for line := range strings.Lines(d.log.String()) {
		if strings.Contains(line, "blocked") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

func TestPenalties(t *testing.T) {
	d := servePenalties(t, penalties.Config{NoAuth: -1})
	for range 3 {
		d.guess()
	}
	if d.refused("127.0.0.1") {
		t.Fatal("refused after three failures")
	}
	d.guess()
	for range 10 {
		if !d.refused("127.0.0.1") {
			t.Fatal("not refused after four failures")
		}
	}
	if _, err := d.Dial("guest", "right"); err == nil {
		t.Error("a blocked source is authenticated with the right password")
	}
	sshtest.Receive(t, d.closed)
	if d.refused("127.0.0.2") {
		t.Error("another source was refused")
	}
	blocked := `level=warn msg="source blocked" addr=127.0.0.1/32 duration=20s reason=authfail`
	if got := d.lines(); got != blocked {
		t.Errorf("the log is\n%s\nwant\n%s", got, blocked)
	}
	if got := d.counts.Counts()[counters.PenaltyAuthFail]; got != 11 {
		t.Errorf("%d refusals were counted", got)
	}

	d.now.Store(int64(20 * time.Second))
	expect(t, d.Visit(t, sshtest.Visit{Password: "right"}), sshtest.Result{Stdout: "guest"})
	want := blocked + "\n" + `level=info msg="source unblocked" addr=127.0.0.1/32 refused=11`
	if got := d.lines(); got != want {
		t.Errorf("the log is\n%s\nwant\n%s", got, want)
	}
}

// A client that is authenticated gets no penalty for earlier attempts, even with the strictest settings.
func TestPenaltiesAfterSuccess(t *testing.T) {
	noKeys := configures(func(cfg *gossh.ServerConfig) {
		cfg.MaxAuthTries = 100
		cfg.PublicKeyCallback = func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) {
			return nil, errors.New("no such key")
		}
	}, "publickey")
	for _, tt := range []struct {
		name    string
		try     func(*testing.T, *penaltyServer) (expected bool)
		blocked bool
	}{
		{"mistyped twice", func(t *testing.T, d *penaltyServer) bool {
			client := d.Server.DialRaw(t)
			defer func() { _ = client.Conn.Close() }()
			_, _ = client.Password("guest", "rigth")
			_, _ = client.Password("guest", "roght")
			in, _ := client.Password("guest", "right")
			return in
		}, false},
		{"an agent with 20 keys, then the password", func(t *testing.T, d *penaltyServer) bool {
			return loginWithKeys(t, d, 20, "right")
		}, false},
		{"an agent with 20 keys, and no password", func(t *testing.T, d *penaltyServer) bool {
			return !loginWithKeys(t, d, 20, "")
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := servePenalties(t, penalties.Config{Min: 4 * time.Second}, noKeys)
			if !tt.try(t, d) {
				t.Fatal("the login did not end as expected")
			}
			sshtest.Receive(t, d.closed)
			if got := d.refused("127.0.0.1"); got != tt.blocked {
				t.Errorf("refused %t; the log is\n%s", got, d.lines())
			}
			if got := strings.Contains(d.lines(), "duration=5s reason=authfail"); got != tt.blocked { // one penalty
				t.Errorf("the log is\n%s", d.lines())
			}
		})
	}
}

// loginWithKeys reports whether a client is authenticated that offers n keys and then, if it is not empty, a password.
func loginWithKeys(t *testing.T, d *penaltyServer, n int, password string) bool {
	t.Helper()
	keys := make([]gossh.Signer, n)
	for i := range keys {
		keys[i] = sshtest.HostKey(t)
	}
	auth := []gossh.AuthMethod{gossh.PublicKeys(keys...)}
	if password != "" {
		auth = append(auth, gossh.Password(password))
	}
	client, err := gossh.Dial("tcp", d.Address, &gossh.ClientConfig{
		User: "guest", Auth: auth, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return false
	}
	_ = client.Close()
	return true
}

// Each way in which a connection can fail has its reason.
func TestPenaltiesReasons(t *testing.T) {
	send := func(words string) func(*testing.T, *penaltyServer) {
		return func(t *testing.T, d *penaltyServer) {
			conn := d.Server.DialTCP(t)
			_, _ = io.WriteString(conn, words)
			sshtest.HalfClose(conn)
		}
	}
	wait := func(words string) func(*testing.T, *penaltyServer) {
		return func(t *testing.T, d *penaltyServer) {
			conn := d.Server.DialTCP(t)
			_, _ = io.WriteString(conn, words)
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	ask := func(method, rest string) func(*testing.T, *penaltyServer) {
		return func(t *testing.T, d *penaltyServer) {
			client := sshtest.NewRaw(d.DialTCP(t)) // the server may be too slow for its own timeout: that is fine here
			_ = client.Handshake("SSH-2.0-raw", sshtest.Curve25519)
			_, _ = client.Attempt("nobody", "ssh-connection", method, []byte(rest))
			_, _ = io.Copy(io.Discard, client.Conn)
		}
	}
	prompt := configures(func(cfg *gossh.ServerConfig) {
		cfg.KeyboardInteractiveCallback = func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
			_, err := ask("", "", []string{"Password: "}, []bool{false})
			return nil, err
		}
	}, "keyboard-interactive")
	guess := func(user string) func(*testing.T, *penaltyServer) {
		return func(t *testing.T, d *penaltyServer) {
			if _, err := d.Dial(user, "wrong"); err == nil {
				t.Error("authenticated")
			}
		}
	}
	for _, tt := range []struct {
		name   string
		fail   func(*testing.T, *penaltyServer)
		reason string
	}{
		{"another protocol", send("GET / HTTP/1.1\r\n\r\n"), "noauth"},
		{"a version scan", send("SSH-2.0-scan\r\n"), "noauth"},
		{"no common algorithm", func(t *testing.T, d *penaltyServer) {
			_ = sshtest.NewRaw(d.DialTCP(t)).Handshake("SSH-2.0-old", "diffie-hellman-group1-sha1")
		}, "noauth"},
		{"silence", wait(""), "grace-exceeded"},
		{"silence after the version", wait("SSH-2.0-slow\r\n"), "grace-exceeded"},
		{"silence after asking for methods", ask("none", ""), "grace-exceeded"},
		{"silence at a prompt", ask("keyboard-interactive", strings.Repeat("\x00", 8)), "grace-exceeded"},
		{"a known user", guess("alice"), "authfail"},
		{"an invalid user", guess("nobody"), "invaliduser"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			grace := middleware.Layer{Server: func(srv *ssh.Server) error {
				if tt.reason == "grace-exceeded" {
					srv.HandshakeTimeout = time.Second / 4
				}
				return nil
			}}
			known := func(name string) bool { return name == "alice" }
			d := servePenalties(t, penalties.Config{Min: 1, KnownUser: known}, prompt, grace)
			tt.fail(t, d)
			if line := d.log.Line(t, "source blocked"); !strings.HasSuffix(line, "reason="+tt.reason) {
				t.Errorf("the line is %s, want the reason %s", line, tt.reason)
			}
			sshtest.Receive(t, d.closed)
			if !d.refused("127.0.0.1") {
				t.Error("the next connection is not refused")
			}
		})
	}
}

func TestPenaltiesExempt(t *testing.T) {
	d := servePenalties(t, penalties.Config{
		Min: 1, Networks: source.Networks{Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	})
	for range 3 {
		d.guess()
	}
	if d.refused("127.0.0.1") {
		t.Error("an exempt address was refused")
	}
	if d.refused("127.0.0.2") || !d.refused("127.0.0.2") {
		t.Error("an address that is not exempt was not refused the second time")
	}
}

// A refusal by another layer and a login without proof (Open) cost no penalty.
func TestPenaltiesWithOtherLayers(t *testing.T) {
	full := connects(func(*middleware.Conn) error { return errors.New("full") })
	d := servePenalties(t, penalties.Config{Min: 1}, full)
	for range 3 {
		d.refused("127.0.0.1")
	}
	if got := d.lines(); got != "" {
		t.Errorf("the log is\n%s", got)
	}
	srv := sshtest.Serve(t, middleware.Penalties(trackerOf(t, penalties.Config{Min: 1})), middleware.Open(), middleware.Handler("test", whoami))
	for range 3 {
		expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: "guest"})
	}
}

// Logging logs attempts outside and inside of Penalties. Inside, it does not log refused connections.
func TestPenaltiesAndLogging(t *testing.T) {
	for _, inside := range []bool{false, true} {
		l := sshtest.NewLog()
		layers := []middleware.Layer{
			middleware.Logging(l.Events()),
			middleware.Penalties(trackerOf(t, penalties.Config{Min: 1, Logger: l.Logger()})),
			passwordLayer(func(string, string) bool { return false }),
		}
		closed := 2
		if inside {
			layers[0], layers[1] = layers[1], layers[0]
			closed = 1
		}
		srv := sshtest.Serve(t, append(layers, middleware.Handler("test", whoami))...)
		for range 2 {
			if _, err := srv.Dial("guest", "wrong"); err == nil {
				t.Fatal("authenticated")
			}
			l.Line(t, "source blocked")
		}
		l.Line(t, "authentication failed", "method=password")
		if inside {
			l.Line(t, "connection closed")
		} else {
			l.Line(t, "connection closed", "before the handshake")
		}
		if got := strings.Count(l.String(), "connection closed"); got != closed {
			t.Errorf("inside %t: %d connections in the log\n%s", inside, got, l)
		}
	}
}

// Connections that fail concurrently cause one block, as long as the sum of their penalties.
func TestPenaltiesAtOnce(t *testing.T) {
	const guessers = 50
	d := servePenalties(t, penalties.Config{})
	clients := make([]*sshtest.Raw, guessers)
	for i := range clients {
		clients[i] = d.Server.DialRaw(t)
	}
	concurrently(guessers, func(i int) {
		_, _ = clients[i].Password("guest", "wrong")
		_ = clients[i].Conn.Close()
	})
	for range guessers {
		sshtest.Receive(t, d.closed)
	}
	if got := d.lines(); strings.Count(got, "\n") != 0 || !strings.Contains(got, "source blocked") {
		t.Errorf("the log is\n%s", got)
	}
	d.now.Store(int64(249 * time.Second))
	if !d.refused("127.0.0.1") {
		t.Error("the block is over before 250 seconds")
	}
	d.now.Store(int64(250 * time.Second))
	if d.refused("127.0.0.1") {
		t.Error("the block is not over after 250 seconds")
	}
}

func TestPenaltiesNeedATracker(t *testing.T) {
	_, err := wish.NewServer(middleware.NewStack(middleware.Penalties(nil), middleware.Open(), middleware.Handler("test", whoami)).Install)
	if want := "layer penalties: no tracker"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// 40,000 sources take no more memory than the table is allowed to.
func TestPenaltiesManySources(t *testing.T) {
	srv := &ssh.Server{}
	srv.AddHostKey(sshtest.HostKey(t))
	l := sshtest.NewLog()
	layer := middleware.Penalties(trackerOf(t, penalties.Config{MaxSources6: 1000, Logger: l.Logger()}))
	if err := middleware.NewStack(layer, middleware.Open(), middleware.Handler("test", whoami)).Install(srv); err != nil {
		t.Fatal(err)
	}
	connect := func(from, to int) {
		for i := from; i < to; i++ {
			ip := net.ParseIP("2001:db8::1")
			binary.BigEndian.PutUint32(ip[4:], uint32(i))
			srv.HandleConn(silentConn{from: &net.TCPAddr{IP: ip}})
		}
	}
	connect(0, 10_000)
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	connect(10_000, 40_000)
	if grown := heapInUse() - heap; grown > 1<<18 {
		t.Errorf("30,000 more sources take %d bytes more", grown)
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines, %d before", got, goroutines)
	}
	if l.String() != "" {
		t.Errorf("the log is\n%s", l)
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // frees objects whose finalizers the first one has run
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The time of a refused connection and of a failed login, client included and without a password hash, and their ratio.
func BenchmarkPenalties(b *testing.B) {
	failed := servePenalties(b, penalties.Config{AuthFail: -1})
	refused := servePenalties(b, penalties.Config{Min: 1, Max: 1000 * time.Hour, AuthFail: 1000 * time.Hour})
	refused.guess()
	var failures, refusals time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := failed.Dial("guest", "wrong"); err == nil {
			b.Fatal("authenticated")
		}
		<-failed.closed
		between := time.Now()
		if !refused.refused("127.0.0.1") {
			b.Fatal("authenticated")
		}
		failures, refusals = failures+between.Sub(start), refusals+time.Since(between)
	}
	b.ReportMetric(float64(failures.Nanoseconds())/float64(b.N), "ns/failure")
	b.ReportMetric(float64(refusals.Nanoseconds())/float64(b.N), "ns/refusal")
	b.ReportMetric(float64(failures)/float64(refusals), "failures/refusal")
}

// The time of a refused connection in the server alone.
func BenchmarkPenaltiesRefusal(b *testing.B) {
	srv := &ssh.Server{}
	cfg := penalties.Config{NoAuth: time.Hour, Max: time.Hour, Logger: sshtest.NewLog().Logger()}
	layer := middleware.Penalties(trackerOf(b, cfg))
	if err := middleware.NewStack(layer, middleware.Open(), middleware.Handler("test", whoami)).Install(srv); err != nil {
		b.Fatal(err)
	}
	srv.AddHostKey(sshtest.HostKey(b))
	conn := silentConn{from: &net.TCPAddr{IP: net.IPv6loopback}}
	srv.HandleConn(conn)
	for b.Loop() {
		srv.HandleConn(conn)
	}
}
