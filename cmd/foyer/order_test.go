package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/server"
	"foyer/middleware/sshtest"
)

// demand is an order that two layers must have in the list. holds reports whether the server behaves accordingly.
type demand struct {
	outside, inside string
	why             string
	cfg             server.Config
	holds           func(*testing.T, *listed) bool
}

// The order of the list is the security decision. For each pair of layers whose order matters, swapping their lines changes
// what the server does.
func TestOrder(t *testing.T) {
	one := server.Config{Limits: server.Limits{Connections: 1, PerSource: 1, Unauthenticated: 1, UnauthenticatedPerSource: 1}}
	perSource := server.Config{Limits: server.Limits{PerSource: 1}}
	for _, d := range []demand{
		{"penalties", "logging", "a flood from a blocked source writes no lines", server.Config{}, blockedIsNotLogged},
		{"penalties", "limits", "a blocked source evicts nobody", one, blockedEvictsNobody},
		{"limits", "logging", "a connection over a limit writes no lines", one, refusedIsNotLogged},
		{"proxyheader", "penalties", "a visitor's penalties are not the balancer's", server.Config{}, visitorIsBlocked},
		{"proxyheader", "limits", "visitors do not share the balancer's place", perSource, visitorsHavePlaces},
		{"proxyheader", "logging", "the log has the visitor's address", server.Config{}, visitorIsLogged},
		{"metrics", "penalties", "refused connections are counted", server.Config{HTTP: server.HTTP{Address: "127.0.0.1:0"}}, refusedIsCounted},
		{"ptynotice", "greeting", "the notice follows ssh's own line", server.Config{}, noticeComesFirst},
	} {
		t.Run(d.outside+" outside "+d.inside, func(t *testing.T) {
			if !d.holds(t, serveList(t, d.cfg, nil)) {
				t.Errorf("the list does not ensure that %s", d.why)
			}
			swap := func(list []middleware.Layer) {
				i, j := find(list, d.outside), find(list, d.inside)
				list[i], list[j] = list[j], list[i]
			}
			if d.holds(t, serveList(t, d.cfg, swap)) {
				t.Errorf("with the lines swapped the server still ensures that %s", d.why)
			}
		})
	}
}

// A layer of another author may stand at any place before the handler.
func TestAnyPlaceInTheList(t *testing.T) {
	for i := range serveList(t, server.Config{}, nil).names {
		insert := func(list []middleware.Layer) []middleware.Layer {
			return slices.Insert(list, i, middleware.Layer{Name: "own", Session: func(next ssh.Handler) ssh.Handler { return next }})
		}
		l := serveListOf(t, server.Config{}, insert)
		if got := l.visit(t, "127.0.0.1", sshtest.Visit{}); got.Stdout != middleware.SimpleMessage {
			t.Errorf("at place %d: %+v", i, got)
		}
	}
}

func find(list []middleware.Layer, name string) int {
	return slices.IndexFunc(list, func(layer middleware.Layer) bool { return layer.Name == name })
}

// listed is foyer's list, served in this process.
type listed struct {
	server  *server.Server
	address string
	log     *sshtest.Log
	names   []string
}

func serveList(t *testing.T, cfg server.Config, change func([]middleware.Layer)) *listed {
	return serveListOf(t, cfg, func(list []middleware.Layer) []middleware.Layer {
		if change != nil {
			change(list)
		}
		return list
	})
}

func serveListOf(t *testing.T, cfg server.Config, change func([]middleware.Layer) []middleware.Layer) *listed {
	t.Helper()
	l := &listed{log: sshtest.NewLog()}
	cfg.Listen, cfg.HostKeys, cfg.Writer = []string{"127.0.0.1:0"}, t.TempDir(), l.log
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.LoadHostKeys(); err != nil {
		t.Fatal(err)
	}
	settings := &Config{Config: s.Config, ProxyFrom: []netip.Prefix{netip.MustParsePrefix(balancerAddress + "/32")}, Open: true, Penalties: true, PTY: "refuse", Algorithms: "default"}
	list := layers(settings, s, &users{}, texts{message: middleware.Fixed(middleware.SimpleMessage), greeting: middleware.Fixed("Welcome.")})
	list = slices.DeleteFunc(list, func(layer middleware.Layer) bool { return layer.Name == "" })
	list = change(list)
	if err := s.Build(list...); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-served; _ = s.Close() })
	l.server, l.address, l.names = s, s.Addrs()[0].String(), s.Names()
	return l
}

// dial connects from an address of loopback.
func (l *listed) dial(from string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", l.address)
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(sshtest.Patience))
	}
	return conn, err
}

func (l *listed) login(from string) (*gossh.Client, error) {
	conn, err := l.dial(from)
	if err != nil {
		return nil, err
	}
	c, channels, requests, err := gossh.NewClientConn(conn, "", &gossh.ClientConfig{
		User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return gossh.NewClient(c, channels, requests), nil
}

func (l *listed) visit(t *testing.T, from string, v sshtest.Visit) sshtest.Result {
	t.Helper()
	client, err := l.login(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	return sshtest.Run(t, client, v)
}

// block makes connections that only send their version until the server blocks the address.
func (l *listed) block(t *testing.T, from string) {
	t.Helper()
	sshtest.Eventually(t, "the source is not blocked", func() bool {
		conn, err := l.dial(from)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "SSH-2.0-scan\r\n")
		sshtest.HalfClose(conn)
		_, _ = io.Copy(io.Discard, conn) // until the server has read that
		_ = conn.Close()
		return strings.Contains(l.log.String(), "source blocked")
	})
}

// refusalLogged reports whether the log gets a line about a connection from an address that is refused.
func (l *listed) refusalLogged(t *testing.T, from string) bool {
	count := func() int {
		l.server.Events.Flush()
		return strings.Count(l.log.String(), "closed before the handshake")
	}
	before := count()
	l.connectAndRead(t, from)
	return sshtest.Within(time.Second/4, func() bool { return count() > before })
}

// connectAndRead connects, and reads until the server disconnects.
func (l *listed) connectAndRead(t *testing.T, from string) {
	t.Helper()
	conn, err := l.dial(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.Copy(io.Discard, conn)
}

func blockedIsNotLogged(t *testing.T, l *listed) bool {
	l.block(t, "127.0.0.1")
	return !l.refusalLogged(t, "127.0.0.1")
}

func blockedEvictsNobody(t *testing.T, l *listed) bool {
	l.block(t, "127.0.0.1")
	conn, err := l.dial("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	version := make([]byte, len("SSH-2.0-foyer\r\n"))
	if _, err := io.ReadFull(conn, version); err != nil {
		t.Fatal(err)
	}
	before := l.overLimit()
	l.connectAndRead(t, "127.0.0.1")
	evicted := l.overLimit() > before // the connection itself is closed a moment later
	c := sshtest.NewRaw(conn)
	_, err = io.WriteString(conn, "SSH-2.0-raw\r\n")
	if err == nil {
		_, err = c.Await(sshtest.MsgKexInit)
	}
	return err == nil && !evicted
}

// overLimit returns how many connections were over a limit of connections.
func (l *listed) overLimit() uint64 {
	counts := l.server.Counters.Counts()
	return counts[counters.Connections] + counts[counters.Unauthenticated] +
		counts[counters.SourceConnections] + counts[counters.SourceUnauthenticated]
}

func refusedIsNotLogged(t *testing.T, l *listed) bool {
	client, err := l.login("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	return !l.refusalLogged(t, "127.0.0.2")
}

func noticeComesFirst(t *testing.T, l *listed) bool {
	text := l.visit(t, "127.0.0.1", sshtest.Visit{Term: "xterm"}).Stderr
	notice, greeting := strings.Index(text, "terminal"), strings.Index(text, "Welcome.")
	if notice < 0 || greeting < 0 {
		t.Fatalf("no notice or no greeting: %q", text)
	}
	return notice < greeting
}

// Recover is the outermost layer: wherever another layer panics, the client receives a message.
func TestRecoverIsOutermost(t *testing.T) {
	n := len(serveList(t, server.Config{}, nil).names)
	for place := 1; place < n; place++ {
		insert := func(list []middleware.Layer) []middleware.Layer {
			return slices.Insert(list, place, middleware.Layer{Name: "panics", Session: func(ssh.Handler) ssh.Handler {
				return func(ssh.Session) { panic("boom") }
			}})
		}
		got := serveListOf(t, server.Config{}, insert).visit(t, "127.0.0.1", sshtest.Visit{})
		if got.Status != 1 || !strings.Contains(got.Stderr, "something broke") {
			t.Errorf("a panic at place %d: %+v", place, got)
		}
	}
}

// balancerAddress is where connections must begin with a PROXY header.
const balancerAddress = "127.0.0.77"

// loginThrough logs in through the balancer.
func (l *listed) loginThrough(t *testing.T, visitor string) (*gossh.Client, error) {
	t.Helper()
	conn, err := l.dial(balancerAddress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = io.WriteString(conn, "PROXY TCP4 "+visitor+" 192.0.2.99 4711 22\r\n")
	c, channels, requests, err := gossh.NewClientConn(conn, "", &gossh.ClientConfig{
		User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return nil, err
	}
	return gossh.NewClient(c, channels, requests), nil
}

func visitorIsBlocked(t *testing.T, l *listed) bool {
	sshtest.Eventually(t, "nobody is blocked", func() bool {
		conn, err := l.dial(balancerAddress)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "PROXY TCP4 192.0.2.1 192.0.2.99 4711 22\r\nSSH-2.0-scan\r\n")
		sshtest.HalfClose(conn)
		_ = conn.Close()
		return strings.Contains(l.log.String(), "source blocked")
	})
	return strings.Contains(l.log.String(), "addr=192.0.2.1/32")
}

func visitorsHavePlaces(t *testing.T, l *listed) bool {
	_, first := l.loginThrough(t, "192.0.2.1")
	_, second := l.loginThrough(t, "192.0.2.2")
	return first == nil && second == nil
}

func visitorIsLogged(t *testing.T, l *listed) bool {
	if _, err := l.loginThrough(t, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	return strings.Contains(l.log.Line(t, "authentication succeeded"), "addr=192.0.2.1:")
}

func refusedIsCounted(t *testing.T, l *listed) bool {
	connected := func() string {
		answer, err := http.Get("http://" + l.server.HTTPAddr().String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		text, _ := io.ReadAll(answer.Body)
		_, rest, _ := strings.Cut(string(text), `foyer_connections_total{stage="connected"} `)
		number, _, _ := strings.Cut(rest, "\n")
		return number
	}
	l.block(t, "127.0.0.1")
	before := connected()
	l.connectAndRead(t, "127.0.0.1")
	return connected() != before
}
