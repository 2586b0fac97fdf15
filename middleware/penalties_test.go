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
	"foyer/middleware/source"
	"foyer/middleware/sshtest"
)

// penaltyDoor is a server with a Penalties layer, whose clock stands still until it is set forward.
type penaltyDoor struct {
	*sshtest.Server
	t      testing.TB
	log    *sshtest.Log
	counts *counters.Counters
	passed atomic.Int64  // on the clock
	closed chan struct{} // one for each connection, once Penalties has heard of its end or has refused it
}

// guard serves whoami behind Penalties and layers. The password of everybody is "right".
func guard(t testing.TB, cfg middleware.PenaltiesConfig, layers ...middleware.Layer) *penaltyDoor {
	t.Helper()
	d := &penaltyDoor{t: t, log: sshtest.NewLog(), closed: make(chan struct{}, 1000)}
	cfg.Logger = d.log.Logger()
	d.counts = counters.New(counters.Config{Logger: cfg.Logger})
	cfg.Refused = d.counts.CountPenalty
	cfg.Now = func() time.Time { return time.Unix(0, d.passed.Load()) }
	end := hears(d.closed)
	right := checks(func(_, password string) bool { return password == "right" })
	layers = append([]middleware.Layer{end, middleware.Penalties(cfg)}, layers...)
	d.Server = sshtest.Serve(t, append(append(layers, right), middleware.Handler("test", whoami))...)
	return d
}

// guess fails to authenticate.
func (d *penaltyDoor) guess() {
	d.t.Helper()
	client := d.Server.DialRaw(d.t)
	if in, err := client.Password("guest", "wrong"); in || err != nil {
		d.t.Fatalf("let in %t, error %v", in, err)
	}
	_ = client.Conn.Close()
	sshtest.Receive(d.t, d.closed)
}

// refused reports whether a connection from addr is closed before a byte was sent.
func (d *penaltyDoor) refused(addr string) bool {
	d.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	conn, err := dialer.Dial("tcp", d.Address)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(sshtest.Patience))
	n, err := conn.Read(make([]byte, 1))
	_ = conn.Close()
	sshtest.Receive(d.t, d.closed)
	if n == 0 && err != io.EOF {
		d.t.Fatalf("neither let in nor hung up on: %v", err)
	}
	return n == 0
}

// lines are those of the log that tell of a block.
func (d *penaltyDoor) lines() string {
	var lines []string
	for line := range strings.Lines(d.log.String()) {
		if strings.Contains(line, "blocked") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

func TestPenalties(t *testing.T) {
	d := guard(t, middleware.PenaltiesConfig{NoAuth: -1})
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
		t.Error("the right password got in")
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

	d.passed.Store(int64(20 * time.Second))
	expect(t, d.Visit(t, sshtest.Visit{Password: "right"}), sshtest.Result{Stdout: "guest"})
	want := blocked + "\n" + `level=info msg="source unblocked" addr=127.0.0.1/32 refused=11`
	if got := d.lines(); got != want {
		t.Errorf("the log is\n%s\nwant\n%s", got, want)
	}
}

// A visitor who gets in pays nothing for the attempts before, be it with the least patient of settings.
func TestPenaltiesForgiveWhoGetsIn(t *testing.T) {
	noKeys := configures(func(cfg *gossh.ServerConfig) {
		cfg.MaxAuthTries = 100
		cfg.PublicKeyCallback = func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) {
			return nil, errors.New("no such key")
		}
	}, "publickey")
	for _, tt := range []struct {
		name    string
		visit   func(*testing.T, *penaltyDoor) bool
		blocked bool
	}{
		{"mistyped twice", func(t *testing.T, d *penaltyDoor) bool {
			client := d.Server.DialRaw(t)
			defer func() { _ = client.Conn.Close() }()
			_, _ = client.Password("guest", "rigth")
			_, _ = client.Password("guest", "roght")
			in, _ := client.Password("guest", "right")
			return in
		}, false},
		{"an agent with 20 keys, then the password", func(t *testing.T, d *penaltyDoor) bool {
			return comeWithKeys(t, d, 20, "right")
		}, false},
		{"an agent with 20 keys, and no password", func(t *testing.T, d *penaltyDoor) bool {
			return !comeWithKeys(t, d, 20, "")
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := guard(t, middleware.PenaltiesConfig{Min: 4 * time.Second}, noKeys)
			if !tt.visit(t, d) {
				t.Fatal("the visit did not end as it should")
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

// comeWithKeys reports whether a client gets in that offers n keys and then, if it has one, a password.
func comeWithKeys(t *testing.T, d *penaltyDoor, n int, password string) bool {
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

// What a connection is penalised for that ends in one of many ways.
func TestPenaltiesReasons(t *testing.T) {
	say := func(words string) func(*testing.T, *penaltyDoor) {
		return func(t *testing.T, d *penaltyDoor) {
			conn := d.Server.DialTCP(t)
			_, _ = io.WriteString(conn, words)
			sshtest.HalfClose(conn)
		}
	}
	wait := func(words string) func(*testing.T, *penaltyDoor) {
		return func(t *testing.T, d *penaltyDoor) {
			conn := d.Server.DialTCP(t)
			_, _ = io.WriteString(conn, words)
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	ask := func(method, rest string) func(*testing.T, *penaltyDoor) {
		return func(t *testing.T, d *penaltyDoor) {
			client := d.DialRaw(t)
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
	guess := func(user string) func(*testing.T, *penaltyDoor) {
		return func(t *testing.T, d *penaltyDoor) {
			if _, err := d.Dial(user, "wrong"); err == nil {
				t.Error("let in")
			}
		}
	}
	for _, tt := range []struct {
		name   string
		come   func(*testing.T, *penaltyDoor)
		reason string
	}{
		{"a port scan", say(""), "noauth"},
		{"another protocol", say("GET / HTTP/1.1\r\n\r\n"), "noauth"},
		{"a version scan", say("SSH-2.0-scan\r\n"), "noauth"},
		{"no common algorithm", func(t *testing.T, d *penaltyDoor) {
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
			d := guard(t, middleware.PenaltiesConfig{Min: 1, KnownUser: known}, prompt, grace)
			tt.come(t, d)
			if line := d.log.Line(t, "source blocked"); !strings.HasSuffix(line, "reason="+tt.reason) {
				t.Errorf("the line is %s, want the reason %s", line, tt.reason)
			}
			sshtest.Receive(t, d.closed)
			if !d.refused("127.0.0.1") {
				t.Error("was let in again")
			}
		})
	}
}

func TestPenaltiesExempt(t *testing.T) {
	d := guard(t, middleware.PenaltiesConfig{
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

// Who is turned away by another layer, or let in by a layer that asks for nothing, has done nothing wrong.
func TestPenaltiesBesideOthers(t *testing.T) {
	full := connects(func(*middleware.Conn) error { return errors.New("full") })
	d := guard(t, middleware.PenaltiesConfig{Min: 1}, full)
	for range 3 {
		d.refused("127.0.0.1")
	}
	if got := d.lines(); got != "" {
		t.Errorf("the log is\n%s", got)
	}
	srv := sshtest.Serve(t, middleware.Penalties(middleware.PenaltiesConfig{Min: 1}), middleware.Open(), middleware.Handler("test", whoami))
	for range 3 {
		expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: "guest"})
	}
}

// Wherever it stands, Logging tells of an attempt. Of a refusal it does not where it stands inside.
func TestPenaltiesAndLogging(t *testing.T) {
	for _, inside := range []bool{false, true} {
		l := sshtest.NewLog()
		layers := []middleware.Layer{
			middleware.Logging(l.Events()),
			middleware.Penalties(middleware.PenaltiesConfig{Min: 1, Logger: l.Logger()}),
			checks(func(string, string) bool { return false }),
		}
		accepted := 2
		if inside {
			layers[0], layers[1] = layers[1], layers[0]
			accepted = 1
		}
		srv := sshtest.Serve(t, append(layers, middleware.Handler("test", whoami))...)
		for range 2 {
			if _, err := srv.Dial("guest", "wrong"); err == nil {
				t.Fatal("let in")
			}
			l.Line(t, "source blocked")
		}
		l.Line(t, "authentication failed", "method=password")
		if got := strings.Count(l.String(), "connection accepted"); got != accepted {
			t.Errorf("inside %t: %d connections in the log\n%s", inside, got, l)
		}
	}
}

// Connections that fail at once are one block, of the length that they add up to.
func TestPenaltiesAtOnce(t *testing.T) {
	const guessers = 50
	d := guard(t, middleware.PenaltiesConfig{})
	clients := make([]*sshtest.Raw, guessers)
	for i := range clients {
		clients[i] = d.Server.DialRaw(t)
	}
	atOnce(guessers, func(i int) {
		_, _ = clients[i].Password("guest", "wrong")
		_ = clients[i].Conn.Close()
	})
	for range guessers {
		sshtest.Receive(t, d.closed)
	}
	if got := d.lines(); strings.Count(got, "\n") != 0 || !strings.Contains(got, "source blocked") {
		t.Errorf("the log is\n%s", got)
	}
	d.passed.Store(int64(249 * time.Second))
	if !d.refused("127.0.0.1") {
		t.Error("the block is over before 250 seconds")
	}
	d.passed.Store(int64(250 * time.Second))
	if d.refused("127.0.0.1") {
		t.Error("the block is not over after 250 seconds")
	}
}

func TestPenaltiesBadSettings(t *testing.T) {
	layer := middleware.Penalties(middleware.PenaltiesConfig{Networks: source.Networks{Bits4: 33}})
	_, err := wish.NewServer(middleware.NewStack(layer, middleware.Open(), middleware.Handler("test", whoami)).Install)
	if want := "layer penalties: IPv4 prefix /33 is not one of /1 to /32"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// 40,000 sources leave nothing behind but a table of the size that it may have.
func TestPenaltiesManySources(t *testing.T) {
	srv := &ssh.Server{}
	srv.AddHostKey(sshtest.HostKey(t))
	l := sshtest.NewLog()
	layer := middleware.Penalties(middleware.PenaltiesConfig{MaxSources6: 1000, Logger: l.Logger()})
	if err := middleware.NewStack(layer, middleware.Open(), middleware.Handler("test", whoami)).Install(srv); err != nil {
		t.Fatal(err)
	}
	visits := func(from, to int) {
		for i := from; i < to; i++ {
			ip := net.ParseIP("2001:db8::1")
			binary.BigEndian.PutUint32(ip[4:], uint32(i))
			srv.HandleConn(silentConn{from: &net.TCPAddr{IP: ip}})
		}
	}
	visits(0, 10_000)
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	visits(10_000, 40_000)
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
	runtime.GC() // frees what the first one found finalizers on
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a refused connection costs beside one on which a login fails, both with what it costs the client and without
// a password's hash. The ratio is of the two times.
func BenchmarkPenalties(b *testing.B) {
	failed := guard(b, middleware.PenaltiesConfig{AuthFail: -1})
	refused := guard(b, middleware.PenaltiesConfig{Min: 1, Max: 1000 * time.Hour, AuthFail: 1000 * time.Hour})
	refused.guess()
	var failures, refusals time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := failed.Dial("guest", "wrong"); err == nil {
			b.Fatal("let in")
		}
		<-failed.closed
		between := time.Now()
		if !refused.refused("127.0.0.1") {
			b.Fatal("let in")
		}
		failures, refusals = failures+between.Sub(start), refusals+time.Since(between)
	}
	b.ReportMetric(float64(failures.Nanoseconds())/float64(b.N), "ns/failure")
	b.ReportMetric(float64(refusals.Nanoseconds())/float64(b.N), "ns/refusal")
	b.ReportMetric(float64(failures)/float64(refusals), "failures/refusal")
}

// What a refused connection costs the server alone.
func BenchmarkPenaltiesRefusal(b *testing.B) {
	srv := &ssh.Server{}
	cfg := middleware.PenaltiesConfig{NoAuth: time.Hour, Max: time.Hour, Logger: sshtest.NewLog().Logger()}
	layer := middleware.Penalties(cfg)
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
