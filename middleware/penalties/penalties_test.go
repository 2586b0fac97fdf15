package penalties_test

import (
	"net"
	"net/netip"
	"testing"

	"foyer/middleware/penalties"
)

func TestSource(t *testing.T) {
	tcp := func(ip, zone string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 22, Zone: zone} }
	for _, tt := range []struct {
		name         string
		peer         net.Addr
		bits4, bits6 int
		want         string // "" for none
	}{
		{"IPv4", tcp("192.0.2.77", ""), 32, 64, "192.0.2.77/32"},
		{"IPv4 in four bytes", &net.TCPAddr{IP: net.IP{192, 0, 2, 77}}, 32, 64, "192.0.2.77/32"},
		{"IPv4, a network", tcp("192.0.2.77", ""), 24, 64, "192.0.2.0/24"},
		{"IPv4 mapped", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[::ffff:192.0.2.77]:22")), 32, 64, "192.0.2.77/32"},
		{"IPv4 mapped with a zone", tcp("::ffff:192.0.2.77", "eth0"), 32, 64, "192.0.2.77/32"},
		{"IPv6", tcp("2001:db8:1:2:3:4:5:6", ""), 32, 64, "2001:db8:1:2::/64"},
		{"IPv6, an address", tcp("2001:db8:1:2:3:4:5:6", ""), 32, 128, "2001:db8:1:2:3:4:5:6/128"},
		{"IPv6, a site", tcp("2001:db8:1:2:3:4:5:6", ""), 32, 48, "2001:db8:1::/48"},
		{"a zone", tcp("fe80::1", "eth0"), 32, 128, "fe80::1/128"},
		{"nil", nil, 32, 64, ""},
		{"a nil pointer", (*net.TCPAddr)(nil), 32, 64, ""},
		{"no address", &net.TCPAddr{}, 32, 64, ""},
		{"not an address", &net.TCPAddr{IP: net.IP{1, 2, 3}}, 32, 64, ""},
		{"not TCP", &net.UDPAddr{IP: net.IP{192, 0, 2, 77}}, 32, 64, ""},
		{"a pipe", &net.UnixAddr{Name: "/run/foyer"}, 32, 64, ""},
	} {
		addr := penalties.Addr(tt.peer)
		if addr.IsValid() != (tt.want != "") || addr.Zone() != "" { // no network contains an address with a zone
			t.Errorf("%s: the address is %s", tt.name, addr)
		}
		if got := penalties.Prefix(addr, tt.bits4, tt.bits6); got.IsValid() != addr.IsValid() || got.IsValid() && got.String() != tt.want {
			t.Errorf("%s: the source is %s, want %s", tt.name, got, tt.want)
		}
	}
}
