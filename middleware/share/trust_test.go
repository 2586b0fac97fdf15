package share

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// silent is an engine that says what a test wants.
type silent struct{ Engine }

func newReplica(key Key) *Replica {
	return New(Config{Engine: silent{}, Key: key, Max: 10 * time.Minute, Logger: slog.New(slog.DiscardHandler)})
}

// What no replica can have sent is ignored and counted.
func TestReceiveChecks(t *testing.T) {
	hash := Key("0123456789abcdef").ID(netip.MustParsePrefix("192.0.2.1/32"))
	for _, tt := range []struct {
		message          string
		blocked, invalid int
		hashed           int // blocked if sources are hashed
	}{
		{"1", 0, 0, 0},
		{"1 192.0.2.1/32 20000", 1, 0, 0},
		{"1 192.0.2.1/32 600000 2001:db8::/64 1", 2, 0, 0},
		{"1 " + hash + " 20000", 0, 1, 1},
		{"", 0, 1, 0},
		{"2 192.0.2.1/32 20000", 0, 1, 0},
		{"1 192.0.2.1/32", 0, 1, 0},
		{"1 192.0.2.1/32 20000 ", 0, 1, 0},
		{"1 192.0.2.1/32 600001", 0, 1, 0},
		{"1 192.0.2.1/32 0", 0, 1, 0},
		{"1 192.0.2.1/32 -1", 0, 1, 0},
		{"1 192.0.2.1/32 99999999999999999999", 0, 1, 0},
		{"1 192.0.2.1/32 1e3 192.0.2.2/32 5", 1, 1, 0},
		{"1 192.0.2.1 20000", 0, 1, 0},
		{"1 192.0.2.1/24 20000", 0, 1, 0},
		{"1 192.0.2.1/032 20000", 0, 1, 0},
		{"1 ::ffff:192.0.2.1/128 20000", 0, 1, 0},
		{"1 fe80::1%eth0/128 20000", 0, 1, 0},
		{"1 \x1b[2J/32 20000", 0, 1, 0},
		{"1 " + strings.Repeat("192.0.2.1/32 1 ", 10_000) + "a 1", 0, 1, 0},
	} {
		for _, key := range []Key{nil, Key("0123456789abcdef")} {
			r, blocked := newReplica(key), tt.blocked
			r.receive(decode(tt.message))
			if key != nil {
				blocked = tt.hashed
			}
			got := r.Stats()
			if got.Blocked != blocked || key == nil && int(got.Invalid) != tt.invalid {
				t.Errorf("%.40q with a key of %d bytes: %+v", tt.message, len(key), got)
			}
		}
	}
}

// Nothing that comes from the engine shortens a block.
func FuzzReceive(f *testing.F) {
	for _, message := range []string{"1", "1 192.0.2.1/32 1", "1 192.0.2.1/32 600000", "2 192.0.2.1/32 5", "1  "} {
		f.Add(message)
	}
	source := netip.MustParsePrefix("192.0.2.1/32")
	f.Fuzz(func(t *testing.T, message string) {
		r := newReplica(nil)
		r.receive([]Block{{source.String(), time.Minute}}, 0)
		r.receive(decode(message))
		if left, _ := r.Blocked(source); left < 59*time.Second || left > r.Max {
			t.Errorf("%s is left", left)
		}
	})
}

func TestKey(t *testing.T) {
	source := netip.MustParsePrefix("2001:db8::/64")
	a, b := Key("0123456789abcdef"), Key("0123456789abcdeF")
	for _, key := range []Key{nil, a, b} {
		if id := key.ID(source); !key.valid(id) {
			t.Errorf("%q is not valid", id)
		}
	}
	if a.ID(source) == b.ID(source) || strings.Contains(a.ID(source), "2001") {
		t.Error("the key does not matter")
	}
}

func TestParseURL(t *testing.T) {
	for _, tt := range []struct{ text, problem string }{
		{"redis://localhost", ""},
		{"rediss://foyer@valkey.example.org:6380/2", ""},
		{"valkey://a:1?addr=b:2&addr=c:3", ""},
		{"redis://a:26379?master_set=main&addr=b:26379", ""},
		{"unix:///run/redis/redis.sock", ""},
		{"redis://foyer:hunter2@localhost", "the URL has a password"},
		{"redis://:hunter2@localhost", "the URL has a password"},
		{"redis://foyer:hunter2@local host", "cannot be read"},
		{"redis://foyer:hunter2/3@localhost", "cannot be read"},
		{"localhost:6379", "does not begin with"},
		{"http://localhost", "does not begin with"},
		{"redis://localhost/main", "is not a number"},
		{"redis://localhost?skip_verify=true", `unknown parameter "skip_verify"`},
	} {
		_, err := ParseURL(tt.text)
		if (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.problem)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in %v", err)
		}
	}
	for text, ok := range map[string]bool{"foyer": true, "eu-1.prod_2": true, "": false, "a:b": false, "a b": false, strings.Repeat("a", 65): false} {
		if _, err := ParseName(text); (err == nil) != ok {
			t.Errorf("name %q: %v", text, err)
		}
	}
}

// The table keeps the sources that stay longest.
func TestTable(t *testing.T) {
	now := time.Now()
	tab := newTable(3)
	for i := range 6 {
		tab.merge(now, fmt.Sprint(i), now.Add(time.Duration(i+1)*time.Second), true)
	}
	tab.merge(now, "4", now.Add(time.Second), true) // is never shortened
	for i := range 6 {
		left, first := tab.left(now, func() string { return fmt.Sprint(i) })
		if want := time.Duration(i+1) * time.Second; i < 3 && left != 0 || i >= 3 && left != want || first != (i >= 3) {
			t.Errorf("%d: %s, %t", i, left, first)
		}
	}
	if _, first := tab.left(now, func() string { return "5" }); first {
		t.Error("first twice")
	}
	later := now.Add(5 * time.Second)
	tab.merge(later, "6", later.Add(time.Second), false)
	if got := tab.after(later, 0); len(got) != 1 || got["5"] != time.Second {
		t.Errorf("later: %v", got)
	}
}

// Charges add up while they wait, decrease, and are dropped and counted if there are too many.
func TestPending(t *testing.T) {
	now := time.Now()
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	p := newPending(2, time.Minute)
	for i := range 3 {
		p.add(at(i), Charge{ID: "a", Amount: 5 * time.Second})
	}
	p.add(at(2), Charge{ID: "b", Amount: time.Hour})
	p.add(at(2), Charge{ID: "c", Amount: time.Hour})
	if p.dropped != 1 || p.lag(at(4)) != 4*time.Second {
		t.Errorf("%d dropped, lag %s", p.dropped, p.lag(at(4)))
	}
	got := map[string]Charge{}
	for _, c := range append(p.take(at(4), 1), p.take(at(4), 5)...) {
		got[c.ID] = c
	}
	if got["a"].Amount != 11*time.Second || got["b"].Amount != 58*time.Second {
		t.Errorf("taken: %v", got)
	}
	p.restore(at(4), []Charge{got["a"]})
	p.add(at(5), Charge{ID: "a", Amount: time.Second})
	if got := p.take(at(5), 5); len(got) != 1 || got[0] != (Charge{"a", 10 * time.Second, time.Second, false}) {
		t.Errorf("restored: %v", got)
	}
	p.add(at(5), Charge{ID: "d", Amount: time.Second})
	p.expire(at(6))
	if got := p.take(at(6), 5); got != nil || p.lag(at(9)) != 0 {
		t.Errorf("expired: %v", got)
	}
}

// Adding a penalty and asking about a source do not wait, whether or not there is an engine.
func TestNothingWaits(t *testing.T) {
	r, source := newReplica(nil), netip.MustParsePrefix("192.0.2.1/32")
	for range 100_000 {
		r.Add(source, time.Second)
		r.Blocked(source)
	}
	if got := r.pending.take(time.Now(), 10); len(got) != 1 || got[0].Amount > r.Max {
		t.Errorf("pending: %v", got)
	}
}

func (silent) Open(context.Context, Receiver) (Connection, error) { select {} }

// BenchmarkBlocked is what a connection costs in addition, from one of many blocked sources and with hashes.
func BenchmarkBlocked(b *testing.B) {
	for name, key := range map[string]Key{"addresses": nil, "hashes": Key("0123456789abcdef")} {
		b.Run(name, func(b *testing.B) {
			r, source := newReplica(key), netip.MustParsePrefix("192.0.2.1/32")
			r.receive([]Block{{key.ID(source), time.Minute}}, 0)
			b.ReportAllocs()
			for b.Loop() {
				r.Blocked(source)
			}
		})
	}
}

// BenchmarkAdd is what a penalty costs the connection that gets it.
func BenchmarkAdd(b *testing.B) {
	r, source := newReplica(nil), netip.MustParsePrefix("192.0.2.1/32")
	b.ReportAllocs()
	for b.Loop() {
		r.Add(source, time.Second)
	}
}
