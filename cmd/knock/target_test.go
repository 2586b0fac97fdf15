package main

import (
	"net"
	"testing"

	"foyer/cmd/cli"
)

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want target
	}{
		{"guest@localhost:2022", target{"guest", "localhost:2022"}},
		{"guest@localhost", target{"guest", "localhost:22"}},
		{"guest@[::1]:2022", target{"guest", "[::1]:2022"}},
		{"guest@[::1]", target{"guest", "[::1]:22"}},
		{"guest@example.com@localhost:65535", target{"guest@example.com", "localhost:65535"}},
	} {
		if got, err := parseTarget(tt.in); err != nil || got != tt.want {
			t.Errorf("parseTarget(%q) = %+v, %v", tt.in, got, err)
		}
	}
	for _, in := range []string{
		"", "localhost", "@localhost", "guest@", "guest@:22", "guest@::1", "guest@[::1", "guest@[::1]22",
		"guest@localhost:", "guest@a:b:c",
	} {
		if got, err := parseTarget(in); err == nil {
			t.Errorf("parseTarget(%q) = %+v", in, got)
		}
	}
}

// An address that is not loopback is refused before anything is sent to it.
func TestLocateLoopback(t *testing.T) {
	for _, address := range []string{
		"192.0.2.1:22", "[2001:db8::1]:22", "[::ffff:192.0.2.1]:22", "0.0.0.0:22", "10.0.0.1:22",
	} {
		if _, err := (target{"guest", address}).locate(t.Context(), false); !cli.IsUsage(err) {
			t.Errorf("%s: %v", address, err)
		}
	}
	f := new(fake).open(t)
	_, port, _ := net.SplitHostPort(f.address)
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		got, err := (target{"guest", net.JoinHostPort(host, port)}).locate(t.Context(), false)
		if err != nil || !got.Addr().Unmap().IsLoopback() {
			t.Errorf("%s: %s, %v", host, got, err)
		}
	}
}

func TestNoServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	knock(t, "guest@"+listener.Addr().String(), "--open").check(t, 1, "connection refused")
}
