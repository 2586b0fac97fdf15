package source_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"foyer/middleware/source"
)

func TestAddrAndOf(t *testing.T) {
	tcp := func(ip, zone string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Zone: zone, Port: 22} }
	bits := func(bits4, bits6 int) source.Networks { return source.Networks{Bits4: bits4, Bits6: bits6} }
	for _, tt := range []struct {
		name     string
		peer     net.Addr
		networks source.Networks
		want     string // "" for an invalid address
	}{
		{"IPv4", tcp("192.0.2.77", ""), bits(0, 0), "192.0.2.77/32"},
		{"IPv4 in four bytes", &net.TCPAddr{IP: net.IP{192, 0, 2, 77}}, bits(32, 64), "192.0.2.77/32"},
		{"IPv4, a network", tcp("192.0.2.77", ""), bits(24, 64), "192.0.2.0/24"},
		{"IPv4-mapped", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[::ffff:192.0.2.77]:22")), bits(32, 64), "192.0.2.77/32"},
		{"IPv4-mapped with a zone", tcp("::ffff:192.0.2.77", "eth0"), bits(32, 64), "192.0.2.77/32"},
		{"IPv6", tcp("2001:db8:1:2:3:4:5:6", ""), bits(0, 0), "2001:db8:1:2::/64"},
		{"IPv6, an address", tcp("2001:db8:1:2:3:4:5:6", ""), bits(32, 128), "2001:db8:1:2:3:4:5:6/128"},
		{"IPv6, a site", tcp("2001:db8:1:2:3:4:5:6", ""), bits(32, 48), "2001:db8:1::/48"},
		{"a zone", tcp("fe80::1", "eth0"), bits(32, 128), "fe80::1/128"},
		{"nil", nil, bits(0, 0), ""},
		{"a nil pointer", (*net.TCPAddr)(nil), bits(0, 0), ""},
		{"no address", &net.TCPAddr{}, bits(0, 0), ""},
		{"not an address", &net.TCPAddr{IP: net.IP{1, 2, 3}}, bits(0, 0), ""},
		{"UDP", &net.UDPAddr{IP: net.IP{192, 0, 2, 77}}, bits(0, 0), ""},
		{"a Unix socket", &net.UnixAddr{Name: "/run/foyer"}, bits(0, 0), ""},
	} {
		addr := source.Addr(tt.peer)
		if addr.IsValid() != (tt.want != "") || addr.Zone() != "" {
			t.Errorf("%s: the address is %s", tt.name, addr)
		}
		network, exempt := tt.networks.Of(addr)
		if network.IsValid() != (tt.want != "") || network.IsValid() && network.String() != tt.want {
			t.Errorf("%s: the source is %s, want %s", tt.name, network, tt.want)
		}
		if exempt != (tt.want == "") {
			t.Errorf("%s: exempt is %t", tt.name, exempt)
		}
	}
}

func TestExempt(t *testing.T) {
	networks := source.Networks{Exempt: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/28"), netip.MustParsePrefix("2001:db8::/48"),
	}}
	if err := networks.Validate(); err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"192.0.2.15": true, "192.0.2.16": false, "::ffff:192.0.2.15": true,
		"2001:db8:0:ff::1": true, "2001:db8:0:ff::1%eth0": true, "2001:db8:1::1": false,
	} {
		network, exempt := networks.Of(netip.MustParseAddr(addr))
		if exempt != want || !network.IsValid() {
			t.Errorf("%s: source %s, exempt is %t, want %t", addr, network, exempt, want)
		}
	}
}

func TestValidate(t *testing.T) {
	exempt := func(network netip.Prefix) source.Networks { return source.Networks{Exempt: []netip.Prefix{network}} }
	for _, tt := range []struct {
		networks source.Networks
		want     string // "" for no error
	}{
		{source.Networks{}, ""},
		{source.Networks{Bits4: 1, Bits6: 1}, ""},
		{source.Networks{Bits4: 32, Bits6: 128}, ""},
		{source.Networks{Bits4: 33}, "IPv4 prefix /33"},
		{source.Networks{Bits4: -1}, "IPv4 prefix /-1"},
		{source.Networks{Bits6: 129}, "IPv6 prefix /129"},
		{source.Networks{Bits6: -1}, "IPv6 prefix /-1"},
		{exempt(netip.Prefix{}), "not valid"},
		{exempt(netip.MustParsePrefix("192.0.2.1/24")), "write 192.0.2.0/24"},
		{exempt(netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.0"), 120)), "write it as IPv4"},
	} {
		err := tt.networks.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.networks, err, tt.want)
		}
	}
}
