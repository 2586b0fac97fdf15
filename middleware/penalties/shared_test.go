package penalties_test

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"foyer/middleware/penalties"
	"foyer/middleware/source"
	"foyer/middleware/sshtest"
)

// shared is a [penalties.Shared] that knows of blocks, and remembers what it is told.
type shared struct {
	blocks map[string]time.Duration
	asked  []string
	told   []string
}

func (s *shared) Add(source netip.Prefix, penalty time.Duration) {
	s.told = append(s.told, source.String()+" "+penalty.String())
}

func (s *shared) Blocked(source netip.Prefix) (left time.Duration, first bool) {
	s.asked = append(s.asked, source.String())
	left = s.blocks[source.String()]
	return left, left > 0 && len(s.asked) == 1
}

// A source that other servers block is refused, unless it is exempt here; each penalty is passed on.
func TestTrackerShares(t *testing.T) {
	log := sshtest.NewLog()
	others := &shared{blocks: map[string]time.Duration{"192.0.2.1/32": time.Minute, "192.0.2.9/32": time.Minute}}
	var reasons []penalties.Reason
	tracker, err := penalties.NewTracker(penalties.Config{
		Shared: others, Logger: log.Logger(), Refused: func(r penalties.Reason, _ net.Addr) { reasons = append(reasons, r) },
		Networks: source.Networks{Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	admit := func(ip string) (*penalties.Connection, bool) { return tracker.Admit(&net.TCPAddr{IP: net.ParseIP(ip)}) }
	for range 2 {
		if _, admitted := admit("192.0.2.1"); admitted {
			t.Error("a source that others block is admitted")
		}
	}
	if c, admitted := admit("192.0.2.9"); c != nil || !admitted {
		t.Error("an exempt source is refused")
	}
	c, admitted := admit("192.0.2.2")
	if !admitted {
		t.Fatal("refused")
	}
	c.Attempt("guest", penalties.Failed)
	c.Close(io.EOF)
	if got := strings.Join(others.told, ","); got != "192.0.2.2/32 5s" {
		t.Errorf("the others are told %q", got)
	}
	if got := strings.Join(others.asked, ","); got != "192.0.2.1/32,192.0.2.1/32,192.0.2.2/32" {
		t.Errorf("asked about %s", got)
	}
	if len(reasons) != 2 || reasons[0] != penalties.Elsewhere {
		t.Errorf("the reasons are %v", reasons)
	}
	if got, want := log.String(), `level=warn msg="source blocked" addr=192.0.2.1/32 duration=1m0s reason=elsewhere`+"\n"; got != want {
		t.Errorf("the log is %q, want %q", got, want)
	}
}
