package middleware_test

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/penalties"
	"foyer/middleware/sshtest"
)

var (
	balancer = &net.TCPAddr{IP: net.IPv4(198, 51, 100, 9), Port: 80}
	stranger = &net.TCPAddr{IP: net.IPv4(203, 0, 113, 5), Port: 81}
)

// proxiedServer is a server in memory that believes the balancer's headers.
type proxiedServer struct {
	*ssh.Server
	log    *sshtest.Log
	counts *counters.Counters
	table  *limits.Table
}

func serveProxied(t *testing.T) *proxiedServer {
	t.Helper()
	s := &proxiedServer{log: sshtest.NewLog()}
	s.counts = counters.New(counters.Config{Logger: s.log.Logger()})
	t.Cleanup(s.counts.Flush) // ends its timer
	s.table = limits.NewTable(limits.Config{
		Max: 4, MaxPerSource: 2, MaxUnauthenticated: 4, MaxUnauthenticatedPerSource: 2, MaxSessions: 1, MaxSessionsEver: 1, Counters: s.counts,
	})
	events := eventlog.New(eventlog.Config{Logger: s.log.Logger(), Counters: s.counts})
	tracker, err := penalties.NewTracker(penalties.Config{Logger: s.log.Logger(), Refused: s.counts.CountPenalty})
	if err != nil {
		t.Fatal(err)
	}
	s.Server = newServer(t,
		middleware.ProxyHeader(middleware.ProxyHeaderConfig{
			From:    []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
			Timeout: time.Minute, Table: s.table, Logger: events.Unauthenticated(),
		}),
		middleware.Penalties(tracker),
		middleware.Limits(s.table),
		middleware.Deadlines(middleware.DeadlinesConfig{Handshake: time.Minute, Idle: time.Minute, Keepalive: time.Minute, Counters: s.counts}),
		middleware.Logging(events), middleware.Open(), middleware.Handler("test", whoami))
	return s
}

// send connects from an address and sends text.
func (s *proxiedServer) send(t *testing.T, from *net.TCPAddr, text string) *sshtest.MemoryConn {
	t.Helper()
	c := sshtest.ConnectFrom(t, s.Server, from)
	_, _ = io.WriteString(c, text)
	synctest.Wait()
	return c
}

// The address in a header is the visitor's in the log and in the limits, and what a layer is told.
func TestProxyHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveProxied(t)
		c := s.send(t, balancer, "PROXY TCP4 192.0.2.1 192.0.2.2 4711 22\r\n")
		client := c.Login(t, gossh.Config{})
		if got := sshtest.Run(t, client, sshtest.Visit{}); got.Status != 0 {
			t.Errorf("the visitor received %+v", got)
		}
		_ = client.Close()
		s.log.Line(t, `msg="authentication succeeded"`, "addr=192.0.2.1:4711")
		if strings.Contains(s.log.String(), "198.51.100.9") {
			t.Errorf("the log names the balancer:\n%s", s.log)
		}
	})
}

// A stranger who sends a header is told that this is not SSH, and the operator how to trust a balancer. It is the stranger
// who gets the penalty.
func TestProxyHeaderOfStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveProxied(t)
		for range 16 {
			c := s.send(t, stranger, "PROXY TCP4 192.0.2.1 192.0.2.2 4711 22\r\n")
			if got, _ := io.ReadAll(c); string(got) != "SSH-2.0-foyer\r\nInvalid SSH identification string.\r\n" {
				t.Fatalf("the stranger reads %q", got)
			}
			<-c.Done
		}
		s.log.Line(t, `msg="connection closed"`, "addr=203.0.113.5:81", `err="not SSH: it looks like a PROXY header"`, "--proxy-from")
		s.log.Line(t, `msg="source blocked" addr=203.0.113.5/32`)
	})
}

// A balancer that sends no header, or half of one, is refused and logged, and the visitors of others are not affected.
func TestProxyHeaderInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveProxied(t)
		for _, text := range []string{"SSH-2.0-OpenSSH_9.9\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 x 22\r\n", "PROXY TCP4 " + strings.Repeat("1", 5000)} {
			c := s.send(t, balancer, text)
			got, _ := io.ReadAll(c)
			if !strings.Contains(string(got), "this server expects a PROXY header from your address") {
				t.Errorf("after %.20q the balancer reads %q", text, got)
			}
			<-c.Done
		}
		c := s.send(t, balancer, "PROXY TCP4 192.0")
		c.ToServer.CloseWrite()
		<-c.Done
		s.log.Line(t, `level=warn msg="PROXY header invalid" addr=198.51.100.9:80`, "cut short", "--proxy-from")
		if n := strings.Count(s.log.String(), "PROXY header invalid"); n != 4 {
			t.Errorf("%d lines for 4 connections:\n%s", n, s.log)
		}
	})
}

// The header counts towards the deadline of the handshake.
func TestProxyHeaderLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, start := serveProxied(t), time.Now()
		silent, late := s.send(t, balancer, "PROXY"), s.send(t, balancer, "")
		time.Sleep(15 * time.Second)
		_, _ = io.WriteString(late, "PROXY TCP4 192.0.2.1 192.0.2.2 4711 22\r\n")
		<-silent.Done
		<-late.Done
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("the connections took %s", took)
		}
		s.log.Line(t, `msg="limit reached" addr=198.51.100.9/32 reason=handshake-time`)
		s.log.Line(t, `msg="limit reached" addr=192.0.2.1/32 reason=handshake-time`)
	})
}

// Connections without a header count: they make room for others, and for visitors.
func TestProxyHeaderPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveProxied(t)
		var pending []*sshtest.MemoryConn
		for range 6 {
			pending = append(pending, s.send(t, balancer, ""))
		}
		visitor := s.send(t, balancer, "PROXY TCP4 192.0.2.1 192.0.2.2 4711 22\r\n")
		client := visitor.Login(t, gossh.Config{})
		defer func() { _ = client.Close() }()
		closed := 0
		for _, c := range pending {
			if c.Closed() {
				closed++
			}
		}
		if n, _ := s.table.Len(); n != 4 || closed != 3 {
			t.Errorf("%d connections are in the table, and %d were closed", n, closed)
		}
	})
}

// A balancer that checks the server leaves no warning, and is never blocked.
func TestProxyHeaderOfHealthCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveProxied(t)
		for range 40 {
			for _, text := range []string{
				"", "PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "PROXY UNKNOWN\r\nSSH-2.0-check\r\n",
			} {
				c := s.send(t, balancer, text)
				c.ToServer.CloseWrite()
				<-c.Done
			}
		}
		client := s.send(t, balancer, "PROXY UNKNOWN\r\n").Login(t, gossh.Config{})
		_ = client.Close()
		s.log.Line(t, `msg="authentication succeeded"`, `addr="proxy 198.51.100.9:80"`)
		if strings.Contains(s.log.String(), "level=warn") {
			t.Errorf("the log warns:\n%s", s.log)
		}
	})
}

func TestProxyHeaderConfig(t *testing.T) {
	table := limits.NewTable(limits.Config{MaxUnauthenticated: 1})
	for _, cfg := range []middleware.ProxyHeaderConfig{
		{Timeout: time.Second}, {Table: table},
		{Table: table, Timeout: time.Second, From: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
	} {
		if middleware.ProxyHeader(cfg).Server(nil) == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
