package share_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"foyer/middleware/penalties"
	"foyer/middleware/share"
	"foyer/middleware/sshtest"
)

// server is what a server has of penalties, with its own way to the engine.
type server struct {
	*penalties.Tracker
	replica *share.Replica
	proxy   *sshtest.Proxy
	log     *sshtest.Log
}

func startServer(t *testing.T, r *sshtest.Redis, change func(*share.Valkey, *share.Config)) *server {
	t.Helper()
	s := &server{proxy: sshtest.StartProxy(t, "unix", r.Socket), log: sshtest.NewLog()}
	engine := &share.Valkey{Rules: rules, URL: share.URL("redis://" + s.proxy.Address), Name: "test"}
	cfg := share.Config{Engine: engine, Max: rules.Max, Logger: s.log.Logger()}
	if change != nil {
		change(engine, &cfg)
	}
	s.replica = share.New(cfg)
	var err error
	if s.Tracker, err = penalties.NewTracker(penalties.Config{Shared: s.replica, Logger: s.log.Logger()}); err != nil {
		t.Fatal(err)
	}
	return s
}

// noLeak fails the test if goroutines are left when all else has ended.
func noLeak(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

func (s *server) start(t *testing.T) {
	s.replica.Start()
	t.Cleanup(s.replica.Stop)
}

func peer(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip)} }

func (s *server) refuses(ip string) bool {
	_, admitted := s.Admit(peer(ip))
	return !admitted
}

// fail lets logins of an address fail.
func (s *server) fail(t *testing.T, ip string, times int) {
	t.Helper()
	for range times {
		c, admitted := s.Admit(peer(ip))
		if !admitted {
			t.Fatalf("%s is refused", ip)
		}
		c.Attempt("guest", penalties.Failed)
		c.Close(nil)
	}
}

func (s *server) lines(event string) int { return strings.Count(s.log.String(), `msg="`+event+`"`) }

const (
	isLost  = "penalties are not shared"
	isAgain = "sharing penalties again"
)

func ready(t *testing.T, servers ...*server) {
	t.Helper()
	for _, s := range servers {
		sshtest.Eventually(t, "not connected", func() bool { return s.replica.Stats().Up })
	}
}

// Failures of an address add up over the servers, and all of them refuse it.
func TestServersShare(t *testing.T) {
	for name, key := range map[string]share.Key{"addresses": nil, "hashes": share.Key("0123456789abcdef")} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			r := sshtest.StartRedis(t)
			hash := func(_ *share.Valkey, cfg *share.Config) { cfg.Key = key }
			a, b := startServer(t, r, hash), startServer(t, r, hash)
			a.replica.Start()
			b.replica.Start()
			a.fail(t, "192.0.2.1", 2)
			b.fail(t, "192.0.2.1", 2)
			for _, s := range []*server{a, b} {
				sshtest.Eventually(t, "not refused", func() bool { return s.refuses("192.0.2.1") })
				s.log.Line(t, "source blocked", "addr=192.0.2.1/32", "reason=elsewhere")
			}
			a.fail(t, "2001:db8::1", 4)
			sshtest.Eventually(t, "IPv6 is not refused", func() bool { return b.refuses("2001:db8::2") })
			if a.refuses("192.0.2.2") {
				t.Error("another address is refused")
			}
			stored := r.CLI("zrange", "foyer:test:penalties", "0", "-1")
			if strings.Contains(stored, "192.0.2.1") == (key != nil) {
				t.Errorf("the engine stores %s", stored)
			}
			late := startServer(t, r, hash)
			late.replica.Start()
			sshtest.Eventually(t, "a server that starts later forgives", func() bool { return late.refuses("192.0.2.1") })
			for _, s := range []*server{a, b, late} {
				s.replica.Stop()
			}
		})
	}
}

// failures are what can happen to the engine of a server, and how it ends.
var failures = map[string]struct {
	begin, end func(*server, *sshtest.Redis)
	err        string // in the line
}{
	"cut and refused": {
		func(s *server, _ *sshtest.Redis) { s.proxy.Disturb(sshtest.Disturbance{Refuse: true}); s.proxy.Cut() },
		func(s *server, _ *sshtest.Redis) { s.proxy.Disturb(sshtest.Disturbance{}) }, "",
	},
	"gone": {
		func(_ *server, r *sshtest.Redis) { r.Stop() },
		func(_ *server, r *sshtest.Redis) { r.Start() }, "",
	},
	"never answers": {
		func(s *server, _ *sshtest.Redis) { s.proxy.Disturb(sshtest.Disturbance{Stall: true}) },
		func(s *server, _ *sshtest.Redis) { s.proxy.Disturb(sshtest.Disturbance{}) }, "",
	},
	"too slow": {
		func(s *server, _ *sshtest.Redis) { s.proxy.Disturb(sshtest.Disturbance{Delay: 3 * time.Second}) },
		func(s *server, _ *sshtest.Redis) { s.proxy.Disturb(sshtest.Disturbance{}); s.proxy.Cut() }, "",
	},
	"full": {
		func(_ *server, r *sshtest.Redis) { r.CLI("config", "set", "maxmemory", "1") },
		func(_ *server, r *sshtest.Redis) { r.CLI("config", "set", "maxmemory", "0") }, "OOM",
	},
	"read-only": {
		func(_ *server, r *sshtest.Redis) { r.CLI("replicaof", "127.0.0.1", "1") },
		func(_ *server, r *sshtest.Redis) { r.CLI("replicaof", "no", "one") }, "READONLY",
	},
	"wrong password": {
		func(s *server, r *sshtest.Redis) {
			r.CLI("config", "set", "requirepass", "x")
			r.CLI("-a", "x", "--no-auth-warning", "client", "kill", "type", "normal", "skipme", "yes")
			s.proxy.Cut()
		},
		func(_ *server, r *sshtest.Redis) {
			r.CLI("-a", "x", "--no-auth-warning", "config", "set", "requirepass", "")
		}, "",
	},
	"corrupt": {
		func(s *server, _ *sshtest.Redis) {
			s.proxy.Disturb(sshtest.Disturbance{Corrupt: func(b []byte) []byte { return bytes.Repeat([]byte("?"), len(b)) }})
		},
		func(s *server, _ *sshtest.Redis) { s.proxy.Disturb(sshtest.Disturbance{}); s.proxy.Cut() }, "",
	},
}

// In each failure, servers go on by what they see themselves. They say once when it begins and once when it ends, and then
// share what has happened meanwhile.
func TestFailures(t *testing.T) {
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sshtest.StartRedis(t)
			a, b := startServer(t, r, nil), startServer(t, r, nil)
			a.start(t)
			b.start(t)
			ready(t, a, b)
			a.fail(t, "192.0.2.1", 4)
			sshtest.Eventually(t, "not shared before", func() bool { return b.refuses("192.0.2.1") })

			tt.begin(a, r)
			a.log.Line(t, isLost, tt.err)
			a.fail(t, "192.0.2.2", 4)
			if !a.refuses("192.0.2.2") || !a.refuses("192.0.2.1") {
				t.Error("the server does not block by itself")
			}
			a.fail(t, "192.0.2.3", 2) // is added up afterwards
			if a.refuses("192.0.2.9") {
				t.Error("another address is refused")
			}

			tt.end(a, r)
			a.log.Line(t, isAgain, "duration=")
			for _, ip := range []string{"192.0.2.1", "192.0.2.2"} {
				sshtest.Eventually(t, ip+" is not shared afterwards", func() bool { return b.refuses(ip) })
			}
			ready(t, a, b)
			if a.lines(isLost) != 1 || a.lines(isAgain) != 1 {
				t.Errorf("the log is\n%s", a.log)
			}
			late := startServer(t, r, nil)
			late.start(t)
			ready(t, late)
			sshtest.Eventually(t, "the engine has forgotten", func() bool { return late.refuses("192.0.2.1") && late.refuses("192.0.2.2") })
		})
	}
}

// An engine that is not there, or does not answer, when a server starts delays the start by a second at most; there is one
// line, and one when it comes.
func TestAbsentAtStart(t *testing.T) {
	for name, d := range map[string]sshtest.Disturbance{"absent": {Refuse: true}, "silent": {Stall: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sshtest.StartRedis(t)
			s, other := startServer(t, r, nil), startServer(t, r, nil)
			s.proxy.Disturb(d)
			s.start(t)
			s.fail(t, "192.0.2.1", 4)
			if !s.refuses("192.0.2.1") {
				t.Error("not blocked")
			}
			s.log.Line(t, isLost, "addr=redis://"+s.proxy.Address)
			if got := s.replica.Stats(); got.Up || got.Lag <= 0 {
				t.Errorf("the statistics are %+v", got)
			}
			s.proxy.Disturb(sshtest.Disturbance{})
			s.log.Line(t, isAgain)
			other.start(t)
			sshtest.Eventually(t, "not shared", func() bool { return other.refuses("192.0.2.1") })
			if s.lines(isLost) != 1 || s.lines(isAgain) != 1 {
				t.Errorf("the log is\n%s", s.log)
			}
		})
	}
}

// A slow engine is used; what a server sends arrives later.
func TestSlowEngine(t *testing.T) {
	t.Parallel()
	r := sshtest.StartRedis(t)
	a, b := startServer(t, r, nil), startServer(t, r, nil)
	a.proxy.Disturb(sshtest.Disturbance{Delay: 100 * time.Millisecond})
	a.start(t)
	b.start(t)
	ready(t, a, b)
	a.fail(t, "192.0.2.1", 4)
	sshtest.Eventually(t, "not shared", func() bool { return b.refuses("192.0.2.1") })
	if a.lines(isLost) != 0 {
		t.Errorf("the log is\n%s", a.log)
	}
}

// Two servers that cannot reach each other's engine for a while block for the longer of what they know afterwards.
func TestPartition(t *testing.T) {
	t.Parallel()
	r := sshtest.StartRedis(t)
	a, b := startServer(t, r, nil), startServer(t, r, nil)
	a.start(t)
	b.start(t)
	ready(t, a, b)
	for _, s := range []*server{a, b} {
		s.proxy.Disturb(sshtest.Disturbance{Stall: true})
		s.log.Line(t, isLost)
	}
	a.fail(t, "192.0.2.1", 2)
	b.fail(t, "192.0.2.1", 2)
	a.fail(t, "192.0.2.2", 4)
	b.fail(t, "192.0.2.3", 4)
	if a.refuses("192.0.2.1") || a.refuses("192.0.2.3") || b.refuses("192.0.2.2") {
		t.Error("the servers know of each other")
	}
	for _, s := range []*server{a, b} {
		s.proxy.Disturb(sshtest.Disturbance{})
		s.log.Line(t, isAgain)
	}
	for _, s := range []*server{a, b} {
		for _, ip := range []string{"192.0.2.2", "192.0.2.3"} {
			sshtest.Eventually(t, ip+" is not refused", func() bool { return s.refuses(ip) })
		}
	}
}

// When sentinels promote another node, servers find it, and it is told what the servers know.
func TestFailover(t *testing.T) {
	t.Parallel()
	ports := []string{freePort(t), freePort(t), freePort(t)}
	first := sshtest.StartRedis(t, "--port", ports[0], "--bind", "127.0.0.1")
	second := sshtest.StartRedis(t, "--port", ports[1], "--bind", "127.0.0.1", "--replicaof", "127.0.0.1 "+ports[0], "--repl-diskless-sync-delay", "0")
	sshtest.Eventually(t, "no replica", func() bool { return strings.Contains(second.CLI("info", "replication"), "master_link_status:up") })
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 %s 1\nsentinel down-after-milliseconds main 500\n", ports[2], ports[0])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := exec.Command("redis-server", config, "--sentinel")
	log := sshtest.NewLog()
	sentinel.Stdout = log
	if err := sentinel.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sentinel.Process.Kill(); _ = sentinel.Wait() })
	log.Line(t, "+slave slave")

	s := startServer(t, first, func(v *share.Valkey, _ *share.Config) {
		v.URL = share.URL("redis://127.0.0.1:" + ports[2] + "?master_set=main")
	})
	s.start(t)
	ready(t, s)
	s.fail(t, "192.0.2.1", 4)
	sshtest.Eventually(t, "nothing is stored", func() bool {
		return strings.Contains(first.CLI("zrange", "foyer:test:penalties", "0", "-1"), "192.0.2.1")
	})
	first.Stop()
	s.log.Line(t, isLost)
	s.fail(t, "192.0.2.2", 4)
	s.log.Line(t, isAgain)
	sshtest.Eventually(t, "the new node is not told", func() bool {
		stored := second.CLI("zrange", "foyer:test:penalties", "0", "-1")
		return strings.Contains(stored, "192.0.2.1/32") && strings.Contains(stored, "192.0.2.2/32")
	})
	if s.lines(isLost) != 1 || s.lines(isAgain) != 1 {
		t.Errorf("the log is\n%s", s.log)
	}
}

// A user with its own rights, as the documentation of Valkey says, is enough; the password is read again for each connection.
func TestUser(t *testing.T) {
	t.Parallel()
	r := sshtest.StartRedis(t)
	source, err := os.ReadFile("valkey.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rights, _ := strings.Cut(string(source), "ACL SETUSER foyer ")
	rights, _, _ = strings.Cut(rights, "type Valkey")
	for _, change := range [][2]string{{"//", ""}, {"PASSWORD", "hunter2"}, {"NAME", "test"}} {
		rights = strings.ReplaceAll(rights, change[0], change[1])
	}
	r.CLI(append([]string{"acl", "setuser", "foyer"}, strings.Fields(rights)...)...)
	r.CLI("acl", "setuser", "default", "off")
	password := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(password, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	s := startServer(t, r, func(v *share.Valkey, _ *share.Config) {
		v.URL, v.PasswordFile = share.URL(strings.Replace(string(v.URL), "redis://", "redis://foyer@", 1)), password
	})
	s.start(t)
	s.log.Line(t, isLost, "WRONGPASS")
	write("hunter2")
	s.log.Line(t, isAgain)
	s.fail(t, "192.0.2.1", 4)
	sshtest.Eventually(t, "not sent", func() bool { return s.replica.Stats().Received > 0 })
	if got := s.replica.Switch(); got != nil || s.lines(isLost) != 1 || strings.Contains(s.log.String(), "hunter2") {
		t.Errorf("the switch is %+v, the log is\n%s", got, s.log)
	}
}
