package middleware_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// diary is what layers tell of their hooks, in order.
type diary struct {
	mu      sync.Mutex
	entries []string
	closed  chan struct{} // one for each Closed
}

func newDiary() *diary { return &diary{closed: make(chan struct{}, 1000)} }

func (d *diary) write(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, entry)
}

// read returns what was written since it was last read, once layers have heard of an end closed times.
func (d *diary) read(t *testing.T, closed int) string {
	t.Helper()
	for range closed {
		receive(t, d.closed)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	text := strings.Join(d.entries, ", ")
	d.entries = nil
	return text
}

// layer returns a layer that tells of all its hooks. Its Accept does what accept does, if that is not nil.
func (d *diary) layer(name string, accept func(net.Conn) net.Conn) middleware.Layer {
	return middleware.Layer{Name: name, Server: middleware.Hooks{
		Accept: func(_ ssh.Context, conn net.Conn) net.Conn {
			d.write(name + " accepts")
			if accept != nil {
				return accept(conn)
			}
			return conn
		},
		Configure: func(ctx ssh.Context, _ *gossh.ServerConfig) {
			if ctx.Value(ssh.ContextKeyServer) != nil { // not the one at start
				d.write(name + " configures")
			}
		},
		Closed: func(_ ssh.Context, err error) {
			entry := name + " closed"
			if err != nil {
				entry += ": " + err.Error()
			}
			d.write(entry)
			d.closed <- struct{}{}
		},
	}.Add}
}

func TestHooksOrder(t *testing.T) {
	d := newDiary()
	srv := sshtest.Serve(t, whoami, d.layer("a", nil), middleware.Open(), d.layer("b", nil), d.layer("c", nil))
	expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: "guest"})
	want := "a accepts, b accepts, c accepts, a configures, b configures, c configures, c closed, b closed, a closed"
	if got := d.read(t, 3); got != want {
		t.Errorf("the layers tell\n%s, want\n%s", got, want)
	}
}

// However a connection ends, those who accepted it hear of it, once, and nobody else does.
func TestHooksClosed(t *testing.T) {
	refuse := func(net.Conn) net.Conn { return nil }
	fail := func(net.Conn) net.Conn { panic("boom") }
	configure := middleware.Layer{Server: middleware.Hooks{Configure: func(ctx ssh.Context, _ *gossh.ServerConfig) {
		if ctx.Value(ssh.ContextKeyServer) != nil {
			panic("boom")
		}
	}}.Add}
	deaf := middleware.Layer{Server: middleware.Hooks{Closed: func(ssh.Context, error) { panic("boom") }}.Add}
	const hungUp = "hung up before the handshake was over"
	for _, tt := range []struct {
		name  string
		inner func(*diary) middleware.Layer
		knock string // what the client says
		want  string
	}{
		{"refused", func(d *diary) middleware.Layer { return d.layer("c", refuse) }, "",
			"a accepts, b accepts, c accepts, b closed: " + hungUp + ", a closed: " + hungUp},
		{"a panic in Accept", func(d *diary) middleware.Layer { return d.layer("c", fail) }, "",
			"a accepts, b accepts, c accepts, b closed: " + hungUp + ", a closed: " + hungUp},
		{"a panic in Configure", func(*diary) middleware.Layer { return configure }, "",
			"a accepts, b accepts, a configures, b configures, b closed: " + hungUp + ", a closed: " + hungUp},
		{"a panic in Closed", func(*diary) middleware.Layer { return deaf }, strings.Repeat("x", 300),
			"a accepts, b accepts, a configures, b configures, " +
				"b closed: ssh: overflow reading version string, a closed: ssh: overflow reading version string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			captureLibraryLog(t)
			d := newDiary()
			srv := sshtest.Serve(t, whoami, d.layer("a", nil), middleware.Open(), d.layer("b", nil), tt.inner(d))
			for range 2 { // the server lives on
				conn := dialTCP(t, srv)
				_, _ = io.WriteString(conn, tt.knock)
				_, _ = io.Copy(io.Discard, conn) // until it hangs up
				if got := d.read(t, 2); got != tt.want {
					t.Errorf("the layers tell\n%s, want\n%s", got, tt.want)
				}
			}
			if len(d.closed) > 0 {
				t.Error("a layer heard of the end twice")
			}
		})
	}
}

// The context that Closed is given is the one that Accept was given, whatever happens on other connections.
func TestHooksUnderLoad(t *testing.T) {
	const visitors = 100
	type end struct {
		ctx ssh.Context
		err error
	}
	var accepted sync.Map // addresses by context
	ends := make(chan end, 2*visitors)
	hooks := middleware.Layer{Server: middleware.Hooks{
		Accept: func(ctx ssh.Context, conn net.Conn) net.Conn {
			accepted.Store(ctx, conn.RemoteAddr().String())
			return conn
		},
		Closed: func(ctx ssh.Context, err error) { ends <- end{ctx, err} },
	}.Add}
	srv := sshtest.Serve(t, whoami, hooks, checks(func(_, password string) bool { return password == "right" }))

	var mu sync.Mutex
	want := map[string]string{} // errors by address
	atOnce(visitors, func(i int) {
		addr, err := knock(t, srv, i)
		mu.Lock()
		defer mu.Unlock()
		want[addr] = err
	})
	for range visitors {
		e := receive(t, ends)
		addr, ok := accepted.LoadAndDelete(e.ctx)
		if !ok {
			t.Fatal("the end of a connection that had none, or a second one")
		}
		got := ""
		if e.err != nil {
			got = e.err.Error()
		}
		if suffix, known := want[addr.(string)]; !known || (suffix == "") != (got == "") || !strings.Contains(got, suffix) {
			t.Errorf("%s ended with %q, want %q", addr, got, suffix)
		}
	}
	if len(ends) > 0 {
		t.Errorf("%d ends too many", len(ends))
	}
}

// knock comes to a door in one of several ways, and returns from where and what the server must make of it.
func knock(t *testing.T, srv *sshtest.Server, i int) (addr, err string) {
	switch i % 4 {
	case 0:
		client := mustDialRaw(t, srv, "SSH-2.0-raw")
		defer func() { _ = client.conn.Close() }()
		if in, err := client.password("guest", "right"); !in {
			t.Errorf("not let in: %v", err)
		}
		return client.conn.LocalAddr().String(), ""
	case 1:
		client := mustDialRaw(t, srv, "SSH-2.0-raw")
		defer func() { _ = client.conn.Close() }()
		_, _ = client.password("guest", "wrong")
		return client.conn.LocalAddr().String(), "wrong password"
	case 2:
		conn := dialTCP(t, srv)
		_, _ = io.WriteString(conn, strings.Repeat("x", 300))
		_, _ = io.Copy(io.Discard, conn)
		return conn.LocalAddr().String(), "overflow reading version string"
	default:
		conn := dialTCP(t, srv)
		hangUp(conn)
		return conn.LocalAddr().String(), "EOF"
	}
}

// counting is a wrapper of a connection that counts what is read, and how often it is closed.
type counting struct {
	net.Conn
	read, closed *atomic.Int64
}

func (c counting) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func TestHooksWrapAConnection(t *testing.T) {
	var read, closed atomic.Int64
	d := newDiary()
	wrap := func(conn net.Conn) net.Conn { return counting{conn, &read, &closed} }
	check := func(conn net.Conn) net.Conn {
		if _, ok := conn.(counting); !ok {
			t.Errorf("an inner layer was given a %T", conn)
		}
		return conn
	}
	srv := sshtest.Serve(t, whoami, middleware.Open(), d.layer("a", nil), d.layer("b", wrap), d.layer("c", check))
	expect(t, srv.Visit(t, sshtest.Visit{}), sshtest.Result{Stdout: "guest"})
	want := "a accepts, b accepts, c accepts, a configures, b configures, c configures, c closed, b closed, a closed"
	if got := d.read(t, 3); got != want {
		t.Errorf("the layers tell\n%s, want\n%s", got, want)
	}
	if read.Load() == 0 {
		t.Error("the wrapper was not served")
	}

	closed.Store(0)
	refuse := func(net.Conn) net.Conn { return nil }
	srv = sshtest.Serve(t, whoami, middleware.Open(), d.layer("a", nil), d.layer("b", wrap), d.layer("c", refuse))
	hangUp(dialTCP(t, srv))
	d.read(t, 2)
	if closed.Load() == 0 {
		t.Error("the wrapper of a refused connection was not closed")
	}
}

// Layers that only want one of the moments stand beside each other, and beside what the server has already.
func TestHooksBesideOthers(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	note := func(call string) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, call)
	}
	srv := &ssh.Server{
		ConnCallback:             func(_ ssh.Context, conn net.Conn) net.Conn { note("conn"); return conn },
		ConnectionFailedCallback: func(net.Conn, error) { note("failed") },
		ConnectionCloseCallback:  func(net.Conn) { note("close") },
		ServerConfigCallback: func(ssh.Context) *gossh.ServerConfig {
			note("config")
			return &gossh.ServerConfig{MaxAuthTries: 3, NoClientAuth: true}
		},
	}
	srv.AddHostKey(sshtest.HostKey(t))
	for _, hooks := range []middleware.Hooks{
		{Configure: func(_ ssh.Context, cfg *gossh.ServerConfig) {
			if cfg.MaxAuthTries == 3 {
				note("Configure")
			}
		}},
		{},
		{Closed: func(_ ssh.Context, err error) { note("Closed") }},
		{Accept: func(_ ssh.Context, conn net.Conn) net.Conn { note("Accept"); return conn }},
	} {
		if err := hooks.Add(srv); err != nil {
			t.Fatal(err)
		}
	}
	client, server := net.Pipe()
	_ = client.Close()
	srv.HandleConn(server)
	srv.ConnectionCloseCallback(server) // Closed has heard of it, and has forgotten it
	want := []string{"conn", "Accept", "config", "Configure", "failed", "Closed", "close", "close"}
	if !slices.Equal(calls, want) {
		t.Errorf("called %q, want %q", calls, want)
	}
}

// The configuration of each connection is made anew, and layers see what those before them have set.
func TestHooksConfigureEachConnection(t *testing.T) {
	type key struct{}
	configs := make(chan *gossh.ServerConfig, 2)
	set := middleware.Layer{Server: middleware.Hooks{Configure: func(ctx ssh.Context, cfg *gossh.ServerConfig) {
		cfg.ServerVersion = "SSH-2.0-first"
		ctx.SetValue(key{}, "set")
	}}.Add}
	see := middleware.Layer{Server: middleware.Hooks{Configure: func(ctx ssh.Context, cfg *gossh.ServerConfig) {
		if ctx.Value(key{}) == nil {
			return // at start
		}
		if cfg.ServerVersion != "SSH-2.0-first" {
			t.Errorf("the version is %q", cfg.ServerVersion)
		}
		cfg.ServerVersion = "SSH-2.0-second"
		configs <- cfg
	}}.Add}
	srv := sshtest.Serve(t, whoami, middleware.Open(), set, see)
	for range 2 {
		client := enter(t, srv, "")
		if got := string(client.ServerVersion()); got != "SSH-2.0-second" {
			t.Errorf("the client was told %q", got)
		}
	}
	if first, second := receive(t, configs), receive(t, configs); first == second {
		t.Error("two connections share a configuration")
	}
}
