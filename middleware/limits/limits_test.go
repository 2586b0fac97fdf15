package limits_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
)

// conn is a connection of which only its peer and its end are of interest.
type conn struct {
	net.Conn
	peer   *net.TCPAddr
	closed bool
}

func (c *conn) Read([]byte) (int, error)    { return 1, nil }
func (c *conn) Write(p []byte) (int, error) { return len(p), nil }
func (c *conn) RemoteAddr() net.Addr        { return c.peer }
func (c *conn) Close() error                { c.closed = true; return nil }

// What a server says until the keys are new.
const (
	version = "SSH-2.0-foyer\r\n"
	packet  = "\x00\x00\x00\x0c\x0a\x02.........."
	newKeys = "\x00\x00\x00\x0c\x0a\x15.........."
)

// crowd is a table, and those who come to it, each by a name whose first letter is the source's.
type crowd struct {
	*limits.Table
	t      *testing.T
	conns  map[string]*conn
	admits map[string]*limits.Conn
}

func newCrowd(t *testing.T, cfg limits.Config) *crowd {
	cfg.Prefix4, cfg.Prefix6 = 32, 64
	cfg.Counters = counters.New(counters.Config{})
	return &crowd{limits.NewTable(cfg), t, map[string]*conn{}, map[string]*limits.Conn{}}
}

// do reads a script: "+a1" comes and is let in, "-a1" comes and is refused, "h:a1" is heard of, "k:a1" exchanges keys, "a:a1" is
// authenticated, "x:a1" is over, "." is a second, "~" is three, "!a1" has to be gone by now, and all else still there.
func (c *crowd) do(script string) {
	c.t.Helper()
	gone := map[string]bool{}
	for step := range strings.FieldsSeq(script) {
		switch name := strings.TrimLeft(step, "+-!"); {
		case step[0] == '+', step[0] == '-':
			c.come(name, step[0] == '+')
		case step[0] == '!':
			gone[name] = true
		case step == ".":
			time.Sleep(time.Second) // the bubble's
		case step == "~":
			time.Sleep(3 * time.Second)
		case step[:2] == "h:":
			_, _ = c.admits[step[2:]].Read(nil)
		case step[:2] == "k:":
			for _, said := range []string{version, packet, newKeys} {
				_, _ = io.WriteString(c.admits[step[2:]], said)
			}
		case step[:2] == "a:":
			c.admits[step[2:]].Authenticated()
		case step[:2] == "x:":
			c.admits[step[2:]].Closed()
			delete(c.conns, step[2:])
		}
	}
	for name, conn := range c.conns {
		if conn.closed != gone[name] {
			c.t.Errorf("after %q %s is gone: %t", script, name, conn.closed)
		}
	}
}

func (c *crowd) come(name string, in bool) {
	c.t.Helper()
	conn := &conn{peer: &net.TCPAddr{IP: net.IPv4(192, 0, 2, name[0]), Port: 1}}
	admitted, out, reached := c.Admit(conn)
	if (admitted != nil) != in || in && (len(out) > 0) != (reached != "") {
		c.t.Errorf("%s is let in: %t, %d have to go, by the limit %q", name, admitted != nil, len(out), reached)
	}
	for _, c := range out {
		_ = c.Close()
	}
	if in {
		c.conns[name], c.admits[name] = conn, admitted
	}
}

var wide = limits.Config{
	Max: 100, MaxPerSource: 100, MaxUnauthenticated: 100, MaxUnauthenticatedPerSource: 100, MaxSessions: 2, MaxSessionsEver: 5,
}

func TestWhoMakesRoom(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    func(*limits.Config)
		script string
	}{
		{"the oldest in silence", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 2 }, "+a1 +b1 +c1 +d1 !a1 !b1"},
		{"silence before a prompt", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 2 }, "+a1 k:a1 +b1 +c1 +d1 !b1 !c1"},
		{"the oldest prompt where nobody is silent", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 2 },
			"+a1 k:a1 +b1 k:b1 +c1 !a1"},
		{"a prompt's age counts from the prompt", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 2 },
			"+a1 +b1 k:b1 k:a1 +c1 !b1"},
		{"nobody who is authenticated", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 1 }, "+a1 a:a1 +b1 a:b1 +c1 +d1 !c1"},
		{"its own source, which is over its share", func(cfg *limits.Config) { cfg.MaxUnauthenticatedPerSource = 2 },
			"+a1 +b1 +b2 +b3 +b4 !b1 !b2"},
		{"its own source, where all are full", func(cfg *limits.Config) {
			cfg.MaxUnauthenticatedPerSource, cfg.MaxUnauthenticated = 2, 3
		}, "+a1 +b1 +b2 +b3 +b4 +b5 !b1 !b2 !b3"},
		{"whoever waits where the house is full", func(cfg *limits.Config) { cfg.Max = 3 }, "+a1 a:a1 +b1 +c1 a:c1 +d1 !b1"},
		{"the newcomer where everybody is in", func(cfg *limits.Config) { cfg.Max = 2 }, "+a1 a:a1 +b1 a:b1 -c1 x:a1 +c2 +c3 !c2"},
		{"the newcomer of a source that is full", func(cfg *limits.Config) { cfg.MaxPerSource = 1 }, "+a1 a:a1 -a2 +b1 x:a1 +a3"},
		{"a source of one", func(cfg *limits.Config) { cfg.MaxPerSource = 1 }, "+a1 +a2 +a3 a:a3 -a4 !a1 !a2"},
		{"the source that has most", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 }, "+a1 +b1 +b2 +c1 +d1 !b1 !a1"},
		{"silence, of whoever has most of it", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 4 },
			"+a1 k:a1 +a2 k:a2 +a3 +b1 +c1 !a3"},
		{"a prompt where most are at one", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 k:a1 +b1 k:b1 ~ +c1 +d1 !a1 +e1 !c1"},
		{"not a prompt that was reached at once, where most are", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 k:a1 +b1 k:b1 . +c1 +d1 +e1 !c1 !d1"},
		{"a prompt of its own source, where most are at one", func(cfg *limits.Config) { cfg.MaxUnauthenticatedPerSource = 3 },
			"+a1 k:a1 +a2 k:a2 ~ +a3 +a4 !a1 +a5 !a3"},
		{"most of those at the prompt", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 k:a1 +b1 k:b1 +b2 k:b2 +c1 !b1"},
		{"who has been silent for long, before an office", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 5 },
			"+a1 +b1 ~ +c1 +c2 +c3 +c4 +c5 !a1 !b1"},
		{"not who has been silent for a second", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 . +b1 +b2 +c1 !b1"},
		{"who has been silent for long, and not who has begun to speak", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 +b1 ~ h:a1 +c1 +c2 +d1 !b1 !c1"},
		{"who has been silent for long, and not who has spoken", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 k:a1 +b1 ~ +c1 +c2 +c3 !b1 !c1"},
		{"nobody once somebody has left", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 2 }, "+a1 +b1 x:a1 x:a1 +c1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := wide
			tt.cfg(&cfg)
			synctest.Test(t, func(t *testing.T) { newCrowd(t, cfg).do(tt.script) })
		})
	}
}

// Each limit that makes somebody go is counted by its name.
func TestReasons(t *testing.T) {
	for reason, set := range map[counters.Reason]func(*limits.Config){
		counters.Connections:           func(cfg *limits.Config) { cfg.Max = 1 },
		counters.Unauthenticated:       func(cfg *limits.Config) { cfg.MaxUnauthenticated = 1 },
		counters.SourceConnections:     func(cfg *limits.Config) { cfg.MaxPerSource = 1 },
		counters.SourceUnauthenticated: func(cfg *limits.Config) { cfg.MaxUnauthenticatedPerSource = 1 },
	} {
		cfg := wide
		set(&cfg)
		c := newCrowd(t, cfg)
		c.do("+a1 +a2 +a3 !a1 !a2")
		if counts := c.Counters.Counts(); counts[reason] != 2 || len(counts) != 1 {
			t.Errorf("%s: %v", reason, counts)
		}
	}
}

func TestExempt(t *testing.T) {
	cfg := wide
	cfg.MaxPerSource, cfg.MaxUnauthenticatedPerSource, cfg.Max = 1, 1, 3
	cfg.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.97/32")} // a
	newCrowd(t, cfg).do("+a1 +a2 +b1 +b2 +a3 +a4 !b1 !a1 !a2")
}

func TestSessions(t *testing.T) {
	c := newCrowd(t, wide)
	c.do("+a1")
	a := c.admits["a1"]
	open := func(want counters.Reason, closed bool) {
		t.Helper()
		if got := a.Open(); got != want || c.conns["a1"].closed != closed {
			t.Errorf("over the limit %q, want %q; hung up on: %t", got, want, c.conns["a1"].closed)
		}
	}
	open("", false)
	open("", false)
	open(counters.Sessions, false)
	for range 3 {
		a.Leave() // the last of them too
	}
	open("", false)
	open("", false)
	open(counters.SessionsEver, true)
	if counts := c.Counters.Counts(); counts[counters.Sessions] != 1 || counts[counters.SessionsEver] != 1 {
		t.Error(counts)
	}
}

// Who asks for more and more without taking the answers is hung up on.
func TestSessionsThatPileUp(t *testing.T) {
	c := newCrowd(t, wide)
	c.do("+a1")
	for i := range 5 {
		c.admits["a1"].Open()
		if closed := c.conns["a1"].closed; closed != (i == 4) {
			t.Errorf("after %d sessions hung up on: %t", i+1, closed)
		}
	}
}

func TestDrain(t *testing.T) {
	c := newCrowd(t, wide)
	c.do("+a1 +b1 k:b1 +c1 a:c1 +d1 a:d1")
	c.admits["d1"].Open()
	c.admits["d1"].Open()
	waiting := c.Drain()
	c.do("!c1 -e1")
	for _, conn := range waiting {
		_ = conn.Close()
	}
	c.do("!a1 !b1 !c1")
	c.admits["d1"].Leave()
	c.do("!a1 !b1 !c1")
	c.admits["d1"].Leave()
	c.do("!a1 !b1 !c1 !d1")
}

func TestClose(t *testing.T) {
	c := newCrowd(t, wide)
	c.do("+a1 +b1 a:b1")
	c.admits["b1"].Open()
	c.Close()
	c.do("!a1 !b1 -c1")
}

func TestWait(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	c := newCrowd(t, wide)
	if err := c.Wait(over); err == nil {
		t.Error("a table that lets people in was waited for")
	}
	c.do("+a1 +b1 a:b1")
	c.Drain()
	c.Close()
	for _, name := range []string{"a1", "b1"} {
		if err := c.Wait(over); !errors.Is(err, context.Canceled) {
			t.Errorf("before the end of %s: %v", name, err)
		}
		c.admits[name].Closed()
	}
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	c = newCrowd(t, wide)
	c.Close()
	c.Close()
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// The table keeps nothing of those who are gone.
func TestNothingIsKept(t *testing.T) {
	c := newCrowd(t, wide)
	for i := range 10_000 {
		name := fmt.Sprintf("%c%d", 'a'+i%26, i)
		c.do("+" + name + " a:" + name + " x:" + name)
	}
	if conns, sources := c.Len(); conns != 0 || sources != 0 {
		t.Errorf("%d connections and %d sources are left", conns, sources)
	}
}
