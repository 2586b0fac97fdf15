package keyfile

import (
	"errors"
	"net/netip"
	"strings"
)

// Network parses an address or a network in CIDR notation. As with sshd (addr.c, addr_pton_cidr), no bits may be set
// behind the mask; an IPv4 address in the dress of an IPv6 one is an error, because sources.Addr never returns one.
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
		return netip.Prefix{}, errors.New("a network whose address has bits behind the mask")
	}
	return network, nil
}

var errNetwork = errors.New("not an address, and not a network like 192.0.2.0/24")
