package penalties_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"foyer/middleware/penalties"
	"foyer/middleware/source"
	"foyer/middleware/sshtest"
)

// book is a tracker with a clock and a log for a test.
type book struct {
	*penalties.Tracker
	t       *testing.T
	now     time.Time
	log     *sshtest.Log
	refused map[penalties.Reason]int
}

func newBook(t *testing.T, cfg penalties.Config) *book {
	t.Helper()
	b := &book{t: t, now: time.Unix(0, 0), log: sshtest.NewLog(), refused: map[penalties.Reason]int{}}
	cfg.Now = func() time.Time { return b.now }
	cfg.Logger = b.log.Logger()
	cfg.Refused = func(reason penalties.Reason, peer net.Addr) {
		if source.Addr(peer).IsValid() {
			b.refused[reason]++
		}
	}
	tracker, err := penalties.NewTracker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Tracker = tracker
	return b
}

func peer(addr string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 1022))
}

// visit is a connection that ends with err after attempts, each "user outcome". It reports whether it was admitted.
func (b *book) visit(addr string, err error, attempts ...string) bool {
	c, admitted := b.Admit(peer(addr))
	if !admitted {
		return false
	}
	for _, attempt := range attempts {
		user, outcome, _ := strings.Cut(attempt, " ")
		c.Attempt(user, outcomes[outcome])
	}
	c.Close(err)
	return true
}

var outcomes = map[string]penalties.Outcome{
	"succeeds": penalties.Succeeded, "fails": penalties.Failed, "asks": penalties.Asked, "unchecked": penalties.NotChecked,
}

// visits returns how many visits in a row are admitted before one is not, up to 100.
func (b *book) visits(addr string, err error, attempts ...string) int {
	for n := range 100 {
		if !b.visit(addr, err, attempts...) {
			return n
		}
	}
	return 100
}

var (
	errGrace = &net.OpError{Op: "read", Err: fmt.Errorf("in words: %w", os.ErrDeadlineExceeded)}
	guess    = "root fails"
)

func TestTrackerReasons(t *testing.T) {
	known := func(name string) bool { return name == "alice" }
	for _, tt := range []struct {
		name     string
		cfg      penalties.Config
		err      error
		attempts []string
		visits   int
		reason   penalties.Reason
	}{
		{"hung up", penalties.Config{}, io.EOF, nil, 16, penalties.NoAuth},
		{"only asked", penalties.Config{}, io.EOF, []string{"root asks"}, 16, penalties.NoAuth},
		{"a guess", penalties.Config{}, io.EOF, []string{"root asks", guess}, 4, penalties.AuthFail},
		{"six guesses", penalties.Config{}, io.EOF, []string{guess, guess, guess, guess, guess, guess}, 4, penalties.AuthFail},
		{"out of time", penalties.Config{}, errGrace, nil, 2, penalties.GraceExceeded},
		{"out of time after a guess", penalties.Config{}, errGrace, []string{guess}, 2, penalties.GraceExceeded},
		{"an agent with many keys", penalties.Config{}, io.EOF, []string{"alice fails", "alice fails"}, 4, penalties.AuthFail},
		{"in after guesses", penalties.Config{}, nil, []string{guess, guess, "root succeeds"}, 100, 0},
		{"in and cut off", penalties.Config{}, errGrace, []string{"root succeeds"}, 100, 0},
		{"a known user", penalties.Config{KnownUser: known}, io.EOF, []string{"alice fails"}, 4, penalties.AuthFail},
		{"an invalid user", penalties.Config{KnownUser: known}, io.EOF, []string{guess}, 4, penalties.InvalidUser},
		{"an invalid user among others", penalties.Config{KnownUser: known, InvalidUser: time.Minute}, io.EOF,
			[]string{guess, "alice fails"}, 1, penalties.InvalidUser},
		{"an invalid user only asks", penalties.Config{KnownUser: known, InvalidUser: time.Minute}, io.EOF,
			[]string{"root asks"}, 16, penalties.NoAuth},
		{"invalid users are free", penalties.Config{KnownUser: known, InvalidUser: -1}, io.EOF, []string{guess}, 4, penalties.AuthFail},
		{"time is free", penalties.Config{GraceExceeded: -1}, errGrace, []string{guess}, 4, penalties.AuthFail},
		{"scans are free", penalties.Config{NoAuth: -1}, io.EOF, nil, 100, 0},
		{"guesses are free", penalties.Config{AuthFail: -1, InvalidUser: -1}, io.EOF, []string{guess}, 100, 0},
		{"unchecked guesses", penalties.Config{}, io.EOF, []string{"root asks", "root unchecked", "root unchecked"}, 100, 0},
		{"unchecked guesses and a guess", penalties.Config{}, io.EOF, []string{"root unchecked", guess}, 4, penalties.AuthFail},
		{"at once", penalties.Config{Min: 1}, io.EOF, nil, 1, penalties.NoAuth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBook(t, tt.cfg)
			if got := b.visits("192.0.2.1", tt.err, tt.attempts...); got != tt.visits {
				t.Fatalf("%d visits before one was refused, want %d", got, tt.visits)
			}
			want := ""
			if tt.visits < 100 {
				want = "reason=" + tt.reason.String()
			}
			if got := b.log.String(); !strings.Contains(got, want) || want == "" && got != "" {
				t.Errorf("the log is %q, want %q", got, want)
			}
			if want != "" && b.refused[tt.reason] != 1 {
				t.Errorf("%v refusals were counted, for %s", b.refused, tt.reason)
			}
		})
	}
}

func TestTrackerTellsOfABlock(t *testing.T) {
	b := newBook(t, penalties.Config{})
	for range 1000 {
		b.visit("2001:db8::1", io.EOF, guess)
	}
	b.now = b.now.Add(19 * time.Second)
	if b.visit("2001:db8::2", io.EOF, guess) {
		t.Error("a neighbour in the /64 was let in")
	}
	if !b.visit("2001:db8:0:1::1", io.EOF, guess) || !b.visit("192.0.2.1", io.EOF, guess) {
		t.Error("a source that has done nothing was refused")
	}
	b.now = b.now.Add(time.Second)
	if !b.visit("2001:db8::2", io.EOF, guess) {
		t.Error("the block is not over")
	}
	want := "level=warn msg=\"source blocked\" addr=2001:db8::/64 duration=20s reason=authfail\n" +
		"level=info msg=\"source unblocked\" addr=2001:db8::/64 refused=997\n"
	if got := b.log.String(); got != want {
		t.Errorf("the log is\n%swant\n%s", got, want)
	}
	if got := b.refused[penalties.AuthFail]; got != 997 {
		t.Errorf("%d refusals were counted", got)
	}
}

// The end of a block is logged if it refused a connection, or if it ended early because the table is full.
func TestTrackerTellsOfWhatEnded(t *testing.T) {
	b := newBook(t, penalties.Config{MaxSources4: 1, AuthFail: 20 * time.Second})
	b.visit("192.0.2.1", io.EOF, guess)
	b.now = b.now.Add(20 * time.Second)
	b.visit("192.0.2.2", io.EOF, guess)
	b.now = b.now.Add(time.Second)
	b.visit("192.0.2.3", io.EOF, guess)
	want := "level=warn msg=\"source blocked\" addr=192.0.2.1/32 duration=20s reason=authfail\n" +
		"level=warn msg=\"source blocked\" addr=192.0.2.2/32 duration=20s reason=authfail\n" +
		"level=warn msg=\"source unblocked\" addr=192.0.2.2/32 refused=0 err=\"no room for another blocked source\"\n" +
		"level=warn msg=\"source blocked\" addr=192.0.2.3/32 duration=20s reason=authfail\n"
	if got := b.log.String(); got != want {
		t.Errorf("the log is\n%swant\n%s", got, want)
	}
}

// An office where everybody mistypes now and then, and a health checker that looks in every second.
func TestTrackerSharedAddress(t *testing.T) {
	b := newBook(t, penalties.Config{})
	for i := range 10_000 {
		b.now = b.now.Add(time.Second)
		if !b.visit("192.0.2.1", io.EOF) {
			t.Fatalf("the health checker was refused after %d seconds", i)
		}
		if i%5 == 0 && !b.visit("192.0.2.2", io.EOF, guess, guess, guess) {
			t.Fatalf("the office was refused after %d seconds", i)
		}
	}
	if b.log.String() != "" {
		t.Errorf("the log is\n%s", b.log)
	}
}

func TestTrackerExempt(t *testing.T) {
	b := newBook(t, penalties.Config{Networks: source.Networks{Exempt: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")}}})
	for addr, visits := range map[string]int{
		"192.0.2.255": 100, "::ffff:192.0.2.1": 100, "192.0.3.1": 4,
		"2001:db8::1": 100, "2001:db8::2": 4, // also when the /64 that they share is blocked
	} {
		if got := b.visits(addr, io.EOF, guess); got != visits {
			t.Errorf("%d visits from %s before one was refused, want %d", got, addr, visits)
		}
	}
	if !b.visit("2001:db8::1", io.EOF) {
		t.Error("the neighbour of an exempt address has blocked it")
	}
}

func TestTrackerWithoutAnAddress(t *testing.T) {
	b := newBook(t, penalties.Config{Min: 1})
	for _, addr := range []net.Addr{nil, (*net.TCPAddr)(nil), &net.TCPAddr{}, &net.UnixAddr{}} {
		for range 2 {
			c, admitted := b.Admit(addr)
			if !admitted {
				t.Fatalf("%v was refused", addr)
			}
			c.Attempt("root", penalties.Failed)
			c.Close(io.EOF)
		}
	}
	if b.log.String() != "" {
		t.Errorf("the log is\n%s", b.log)
	}
}

func TestTrackerDefaults(t *testing.T) {
	tracker, err := penalties.NewTracker(penalties.Config{})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{tracker.AuthFail, tracker.InvalidUser, tracker.NoAuth, tracker.GraceExceeded, tracker.Min, tracker.Max,
		tracker.MaxSources4, tracker.MaxSources6, tracker.KnownUser("nobody")}
	if got, want := fmt.Sprint(got), "[5s 5s 1s 10s 15s 10m0s 65536 65536 true]"; got != want {
		t.Errorf("the defaults are %s, want %s", got, want)
	}
	for range 5 { // with the default log, counter and clock
		if c, admitted := tracker.Admit(peer("192.0.2.1")); admitted {
			c.Close(io.EOF)
		}
	}
}

func TestTrackerBadSettings(t *testing.T) {
	networks := func(n source.Networks) penalties.Config { return penalties.Config{Networks: n} }
	exempt := func(prefix netip.Prefix) penalties.Config {
		return networks(source.Networks{Exempt: []netip.Prefix{prefix}})
	}
	for _, tt := range []struct {
		cfg  penalties.Config
		want string
	}{
		{penalties.Config{Min: -1}, "minimum -1ns is negative"},
		{penalties.Config{Min: time.Hour}, "maximum 10m0s is not more than the minimum, 1h0m0s: nothing would be blocked"},
		{penalties.Config{Max: -1}, "maximum -1ns is not more than the minimum, 15s: nothing would be blocked"},
		{networks(source.Networks{Bits4: -1}), "IPv4 prefix /-1 is not one of /1 to /32"},
		{networks(source.Networks{Bits4: 33}), "IPv4 prefix /33 is not one of /1 to /32"},
		{networks(source.Networks{Bits6: 129}), "IPv6 prefix /129 is not one of /1 to /128"},
		{penalties.Config{MaxSources4: -1}, "the maximum number of sources must be positive"},
		{penalties.Config{MaxSources6: -1}, "the maximum number of sources must be positive"},
		{exempt(netip.Prefix{}), "a network is not valid"},
		{exempt(netip.MustParsePrefix("192.0.2.1/24")), "network 192.0.2.1/24 has host bits: write 192.0.2.0/24"},
		{exempt(netip.MustParsePrefix("::ffff:192.0.2.0/120")), "network ::ffff:192.0.2.0/120: write it as IPv4"},
	} {
		if _, err := penalties.NewTracker(tt.cfg); err == nil || err.Error() != tt.want {
			t.Errorf("%+v: got %v, want %s", tt.cfg, err, tt.want)
		}
	}
}

// Sources count as blocked until their penalty has run out, even if nobody has connected since.
func TestTrackerBlocked(t *testing.T) {
	b := newBook(t, penalties.Config{})
	for _, addr := range []string{"192.0.2.1", "2001:db8::1", "192.0.2.2"} {
		b.visits(addr, io.EOF, "guest fails")
	}
	b.visit("192.0.2.3", io.EOF, "guest fails")
	if got := b.Blocked(); got != 3 {
		t.Errorf("%d sources are blocked, want 3", got)
	}
	b.now = b.now.Add(time.Minute)
	if got := b.Blocked(); got != 0 {
		t.Errorf("a minute later %d sources are blocked", got)
	}
}
