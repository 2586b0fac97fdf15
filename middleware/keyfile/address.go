package keyfile

import (
	"errors"
	"net"
	"net/netip"
	"strings"
)

// Address returns the IP address of a peer, without a zone, and IPv4 as IPv4. What has none, such as a Unix socket,
// is the zero address, which lies in no network.
func Address(remote net.Addr) netip.Addr {
	if remote == nil {
		return netip.Addr{}
	}
	peer, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().WithZone("").Unmap()
}

// Network parses an address or a network in CIDR notation. As with sshd (addr.c, addr_pton_cidr), no bits may be set
// behind the mask; an IPv4 address in the dress of an IPv6 one is an error, because [Address] never returns one.
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
