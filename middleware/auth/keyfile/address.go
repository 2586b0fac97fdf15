package keyfile

import (
	"errors"
	"net/netip"
	"strings"
)

// Network parses an address or a network in CIDR notation. Bits after the mask are an error, as in sshd (addr.c,
// addr_pton_cidr). IPv4-mapped IPv6 addresses are an error too: they would match nothing, because source.Addr returns IPv4.
func Network(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" || addr.Is4In6() {
			return netip.Prefix{}, errNetwork
		}
		return addr.Prefix(addr.BitLen())
	}
	network, err := netip.ParsePrefix(text)
	switch {
	case err != nil || network.Addr().Is4In6():
		return netip.Prefix{}, errNetwork
	case network != network.Masked():
		return netip.Prefix{}, errors.New("a network whose address has bits after the mask")
	}
	return network, nil
}

var errNetwork = errors.New("neither an address nor a network like 192.0.2.0/24")
