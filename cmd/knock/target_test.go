package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want target
	}{
		{"guest@localhost:2022", target{"guest", "localhost", 2022}},
		{"guest@localhost", target{"guest", "localhost", 22}},
		{"guest@127.0.0.1", target{"guest", "127.0.0.1", 22}},
		{"guest@[::1]:2022", target{"guest", "::1", 2022}},
		{"guest@[::1]", target{"guest", "::1", 22}},
		{"guest@example.com@localhost:65535", target{"guest@example.com", "localhost", 65535}},
	} {
		if got, err := parseTarget(tt.in); err != nil || got != tt.want {
			t.Errorf("parseTarget(%q) = %+v, %v", tt.in, got, err)
		}
	}
	for _, in := range []string{
		"", "localhost", "@localhost", "guest@", "guest@:22", "guest@::1", "guest@[::1", "guest@[::1]22",
		"guest@localhost:", "guest@localhost:0", "guest@localhost:65536", "guest@localhost:ssh", "guest@a:b:c",
	} {
		if got, err := parseTarget(in); err == nil {
			t.Errorf("parseTarget(%q) = %+v", in, got)
		}
	}
}

// answers is a resolver that knows one name.
func answers(addrs ...string) lookup {
	return func(context.Context, string) (found []netip.Addr, err error) {
		for _, addr := range addrs {
			found = append(found, netip.MustParseAddr(addr))
		}
		return found, nil
	}
}

// TestLoopback: all addresses of a name have to be loopback, or its owner has to say so.
func TestLoopback(t *testing.T) {
	for _, tt := range []struct {
		name    string
		addrs   []string
		allowed bool
	}{
		{"IPv4", []string{"127.0.0.1"}, true},
		{"all of 127.0.0.0/8", []string{"127.255.0.9"}, true},
		{"IPv6", []string{"::1"}, true},
		{"both", []string{"127.0.0.1", "::1"}, true},
		{"IPv4 within IPv6", []string{"::ffff:127.0.0.1"}, true},
		{"elsewhere", []string{"192.0.2.1"}, false},
		{"elsewhere, IPv6", []string{"2001:db8::1"}, false},
		{"elsewhere within IPv6", []string{"::ffff:192.0.2.1"}, false},
		{"every address", []string{"0.0.0.0"}, false},
		{"this link", []string{"fe80::1"}, false},
		{"loopback first", []string{"127.0.0.1", "192.0.2.1"}, false},
		{"loopback last", []string{"192.0.2.1", "127.0.0.1"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // nobody is visited
			s := newSettings()
			s.open, s.insecure, s.timeout, s.look = true, true, time.Second, answers(tt.addrs...)
			_, err := s.door(ctx, "guest@name.example:2022")
			if allowed := err == nil; allowed != tt.allowed {
				t.Errorf("%v", err)
			}
			s.mine = true
			if _, err := s.door(ctx, "guest@name.example:2022"); err != nil {
				t.Errorf("with its owner's word: %v", err)
			}
		})
	}
}

func TestLookupThatFindsNothing(t *testing.T) {
	s := newSettings()
	s.open, s.timeout = true, time.Second
	s.look = answers()
	if _, err := s.door(t.Context(), "guest@name.example"); err == nil {
		t.Error("a name without an address is a door")
	}
	s.look = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
	if _, err := s.door(t.Context(), "guest@name.example"); err == nil || !strings.Contains(err.Error(), "look up name.example: no such host") {
		t.Error(err)
	}
}

// TestResolve: what the resolver says is told without the name, which stands there already.
func TestResolve(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resolve(ctx, "name.example"); err == nil || strings.Contains(err.Error(), "name.example") {
		t.Error(err)
	}
}

// TestReach: where a name has several addresses, the visitors go to the one at which somebody is.
func TestReach(t *testing.T) {
	f := new(fake).open(t)
	there := netip.MustParseAddrPort(f.address)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = nobody.Close()
	nowhere := netip.MustParseAddrPort(nobody.Addr().String())
	if got := reach(t.Context(), []netip.AddrPort{nowhere, there}, patience); got != there {
		t.Errorf("reached %s, want %s", got, there)
	}
	if got := reach(t.Context(), []netip.AddrPort{nowhere}, patience); got != nowhere {
		t.Errorf("reached %s, want %s", got, nowhere)
	}
}
