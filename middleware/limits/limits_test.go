package limits_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
)

// visit is one connection to a table.
type visit struct {
	*limits.Connection
	evicted bool
}

// crowd is a table with its visits, each by a name whose first letter is the source's.
type crowd struct {
	*limits.Table
	t      *testing.T
	visits map[string]*visit
}

func newCrowd(t *testing.T, cfg limits.Config) *crowd {
	cfg.Counters = counters.New(counters.Config{Logger: slog.New(slog.DiscardHandler)})
	return &crowd{limits.NewTable(cfg), t, map[string]*visit{}}
}

// do reads a script: "+a1" comes and is admitted, "-a1" comes and is refused, "h:a1" sends its first bytes, "k:a1" exchanges
// keys, "p:a1" tries to authenticate, "a:a1" is authenticated, "x:a1" is closed, "." is a second, "~" is three. "!a1" must have been evicted at the end,
// and nobody else.
func (c *crowd) do(script string) {
	c.t.Helper()
	evicted := map[string]bool{}
	for step := range strings.FieldsSeq(script) {
		switch name := strings.TrimLeft(step, "+-!"); {
		case step[0] == '+', step[0] == '-':
			c.come(name, step[0] == '+')
		case step[0] == '!':
			evicted[name] = true
		case step == ".":
			time.Sleep(time.Second) // the bubble's
		case step == "~":
			time.Sleep(3 * time.Second)
		case step[:2] == "h:":
			c.visits[step[2:]].Spoke()
		case step[:2] == "k:":
			c.visits[step[2:]].KeysExchanged()
		case step[:2] == "p:":
			c.visits[step[2:]].KeysExchanged()
			c.visits[step[2:]].Asked()
		case step[:2] == "a:":
			c.visits[step[2:]].Authenticated()
		case step[:2] == "x:":
			c.visits[step[2:]].Closed()
		}
	}
	for name, visit := range c.visits {
		if visit.evicted != evicted[name] {
			c.t.Errorf("after %q %s is evicted: %t", script, name, visit.evicted)
		}
	}
}

func (c *crowd) come(name string, in bool) {
	c.t.Helper()
	v := &visit{}
	admitted, evicted, reached := c.Admit(peer(name), func(bool) { v.evicted = true })
	if (admitted != nil) != in || in && (len(evicted) > 0) != (reached != "") {
		c.t.Errorf("%s is admitted: %t, %d are evicted, by the limit %q", name, admitted != nil, len(evicted), reached)
	}
	for _, other := range evicted {
		other.Evict()
	}
	if in {
		v.Connection = admitted
		c.visits[name] = v
	}
}

// peer returns the address of a source: one in 192.0.2.0/24, or of a capital letter one that shares no /8 with any other.
func peer(name string) net.Addr {
	ip := net.IPv4(192, 0, 2, name[0])
	if name[0] < 'a' {
		ip = net.IPv4(name[0], 0, 0, 1)
	}
	return &net.TCPAddr{IP: ip, Port: 1}
}

var wide = limits.Config{
	Max: 100, MaxPerSource: 100, MaxUnauthenticated: 100, MaxUnauthenticatedPerSource: 100, MaxSessions: 2, MaxSessionsEver: 5,
}

func TestEviction(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    func(*limits.Config)
		script string
	}{
		{"the oldest silent connection", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 2 }, "+a1 +b1 +c1 +d1 !a1 !b1"},
		{"a silent connection before one at the prompt", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 2 },
			"+a1 k:a1 +b1 +c1 +d1 !b1 !c1"},
		{"the oldest at the prompt if none is silent", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 2 },
			"+a1 k:a1 +b1 k:b1 +c1 !a1"},
		{"the age at the prompt counts from the key exchange", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 2 },
			"+a1 +b1 k:b1 k:a1 +c1 !b1"},
		{"not an authenticated connection", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 1 },
			"+a1 a:a1 +b1 a:b1 +c1 +d1 !c1"},
		{"one of the same source, which is over its share", func(cfg *limits.Config) { cfg.MaxUnauthenticatedPerSource = 2 },
			"+a1 +b1 +b2 +b3 +b4 !b1 !b2"},
		{"one of the same source if all are full", func(cfg *limits.Config) {
			cfg.MaxUnauthenticatedPerSource, cfg.MaxUnauthenticated = 2, 3
		}, "+a1 +b1 +b2 +b3 +b4 +b5 !b1 !b2 !b3"},
		{"an unauthenticated connection if there are too many in all", func(cfg *limits.Config) { cfg.Max = 3 },
			"+a1 a:a1 +b1 +c1 a:c1 +d1 !b1"},
		{"the new connection is refused if all are authenticated", func(cfg *limits.Config) { cfg.Max = 2 },
			"+a1 a:a1 +b1 a:b1 -c1 x:a1 +c2 +c3 !c2"},
		{"one of the source that has most if all are authenticated", func(cfg *limits.Config) { cfg.Max = 4 },
			"+a1 a:a1 +b1 a:b1 +b2 a:b2 +b3 a:b3 +c1 a:c1 !b1 +d1 !b2 a:d1 -e1 -b4"},
		{"none for a source that has one, if all are authenticated", func(cfg *limits.Config) { cfg.Max = 3 },
			"+a1 a:a1 +b1 a:b1 +b2 a:b2 -a2 -b3 x:b2 +a3"},
		{"the new connection of a full source is refused", func(cfg *limits.Config) { cfg.MaxPerSource = 1 },
			"+a1 a:a1 -a2 +b1 x:a1 +a3"},
		{"a source with one place", func(cfg *limits.Config) { cfg.MaxPerSource = 1 }, "+a1 +a2 +a3 a:a3 -a4 !a1 !a2"},
		{"one of the source that has most", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 +b1 +b2 +c1 +d1 !b1 !a1"},
		{"a silent one of the source that has most of those", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 4 },
			"+a1 k:a1 +a2 k:a2 +a3 +b1 +c1 !a3"},
		{"one at the prompt if most are there", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 p:a1 +b1 p:b1 ~ +c1 +d1 !a1 +e1 !c1"},
		{"not one at the prompt that came quickly, though most are there", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 p:a1 +b1 p:b1 . +c1 +d1 +e1 !c1 !d1"},
		{"one at the prompt of the same source if most are there", func(cfg *limits.Config) { cfg.MaxUnauthenticatedPerSource = 3 },
			"+a1 p:a1 +a2 p:a2 ~ +a3 +a4 !a1 +a5 !a3"},
		{"one of the source that has most at the prompt", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 p:a1 +b1 p:b1 +b2 p:b2 +c1 !b1"},
		{"one that is silent for long before a source that has many", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 5 },
			"+a1 +b1 ~ +c1 +c2 +c3 +c4 +c5 !a1 !b1"},
		{"not one that is silent for a second", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 . +b1 +b2 +c1 !b1"},
		{"one that is silent for long and not one that has begun to speak", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 +b1 ~ h:a1 +c1 +c2 +d1 !b1 !c1"},
		{"one that is silent for long and not one that has exchanged keys", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 3 },
			"+a1 k:a1 +b1 ~ +c1 +c2 +c3 !b1 !c1"},
		{"one without an attempt to authenticate before one with it", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 4 },
			"+a1 p:a1 +b1 p:b1 +c1 k:c1 +d1 k:d1 ~ +e1 !c1 +f1 !d1 +g1 !e1"},
		{"one without an attempt to authenticate only if more have exchanged keys than not", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 4 },
			"+a1 k:a1 ~ +b1 +b2 +b3 +c1 !b1"},
		{"one of the wider network that has most", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 5 },
			"+O1 p:O1 +O2 p:O2 +a1 p:a1 +b1 p:b1 +c1 p:c1 +d1 !a1 p:d1 +e1 !b1 p:e1"},
		{"none once one is closed", func(cfg *limits.Config) { cfg.MaxUnauthenticated = 2 }, "+a1 +b1 x:a1 x:a1 +c1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := wide
			tt.cfg(&cfg)
			synctest.Test(t, func(t *testing.T) { newCrowd(t, cfg).do(tt.script) })
		})
	}
}

// A network with a few connections has no more than one with a single one: the oldest goes, and not the office.
func TestEvictionSparesOffices(t *testing.T) {
	cfg := wide
	cfg.MaxUnauthenticated = 3 * 256
	c := newCrowd(t, cfg)
	c.Config.MaxUnauthenticated = 4 // a table of that size has no few
	c.do("+A1 p:A1 +O1 p:O1 +O2 p:O2 +O3 p:O3 +B1 !A1")
}

// Each limit that evicts a connection is counted by its name.
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
	cfg.Networks.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.97/32")} // a
	newCrowd(t, cfg).do("+a1 +a2 +b1 +b2 +a3 +a4 !b1 !a1 !a2")
}

// The table keeps nothing of connections that are closed.
func TestNothingIsKept(t *testing.T) {
	c := newCrowd(t, wide)
	for i := range 10_000 {
		name := fmt.Sprintf("%c%d", 'a'+i%26, i)
		c.do("+" + name + " a:" + name)
		if connections, sources := c.Len(); connections != 1 || sources != 1 {
			t.Fatalf("%d connections and %d sources, want one of each", connections, sources)
		}
		c.do("x:" + name)
		delete(c.visits, name)
	}
	if connections, sources := c.Len(); connections != 0 || sources != 0 || c.WiderNetworks() != 0 {
		t.Errorf("%d connections, %d sources and %d wider networks are left", connections, sources, c.WiderNetworks())
	}
}

// A health check, or a proxy before its header has arrived, takes the place of no visitor, and a reload is no race.
func TestExemptEvictsNobody(t *testing.T) {
	cfg := wide
	cfg.Max = 2
	table := limits.NewTable(cfg)
	for _, address := range []string{"192.0.2.1", "192.0.2.1"} {
		c, _, _ := table.Admit(&net.TCPAddr{IP: net.ParseIP(address)}, nil)
		c.Authenticated()
	}
	go table.SetConfig(cfg)
	if c, evicted, _ := table.Admit(&net.UnixAddr{Name: "check"}, nil); c != nil || len(evicted) > 0 {
		t.Errorf("a check has evicted %d visitors", len(evicted))
	}
	if c, evicted, _ := table.Admit(&net.TCPAddr{IP: net.ParseIP("192.0.2.2")}, nil); c == nil || len(evicted) != 1 {
		t.Error("a new source gets no place")
	}
}
