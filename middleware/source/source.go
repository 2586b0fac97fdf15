// Package source groups peers by network, for everything that counts per source: penalties, limits, counters and the
// order in which passwords are checked.
package source

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Networks defines which addresses form one source. The zero value is ready to use.
type Networks struct {
	// Bits4 is the number of leading bits that the IPv4 addresses of one source share: 1 to 32, 32 by default.
	Bits4 int
	// Bits6 is the same for IPv6: 1 to 128, 64 by default, because a subscriber usually has a /64. sshd's default
	// (PerSourceNetBlockSize) is 128.
	Bits6 int
	// Exempt lists the networks exempt from penalties and per-source limits, such as a health checker's.
	Exempt []netip.Prefix
}

// Validate returns an error that names the first unusable setting.
func (n Networks) Validate() error {
	switch {
	case n.Bits4 < 0 || n.Bits4 > 32:
		return fmt.Errorf("IPv4 prefix /%d is not one of /1 to /32", n.Bits4)
	case n.Bits6 < 0 || n.Bits6 > 128:
		return fmt.Errorf("IPv6 prefix /%d is not one of /1 to /128", n.Bits6)
	}
	for _, network := range n.Exempt {
		switch {
		case !network.IsValid():
			return errors.New("a network is not valid")
		case network.Addr().Is4In6():
			return fmt.Errorf("network %s: write it as IPv4", network)
		case network != network.Masked():
			return fmt.Errorf("network %s has host bits: write %s", network, network.Masked())
		}
	}
	return nil
}

// Of returns the source that addr belongs to and whether it is exempt. An invalid address is exempt and belongs to the
// zero Prefix, because such peers cannot be distinguished.
func (n Networks) Of(addr netip.Addr) (network netip.Prefix, exempt bool) {
	addr = addr.Unmap().WithZone("") // no network contains an address with a zone
	bits := cmp.Or(n.Bits6, 64)
	if addr.Is4() {
		bits = cmp.Or(n.Bits4, 32)
	}
	network, _ = addr.Prefix(bits)
	covers := func(exempt netip.Prefix) bool { return exempt.Contains(addr) }
	return network, !addr.IsValid() || slices.ContainsFunc(n.Exempt, covers)
}

// Addr returns the address of a TCP peer without its zone. It returns an IPv4-mapped IPv6 address as IPv4, because the
// mapping depends only on which socket accepted the connection. For nil and for other kinds of peers the address is
// invalid.
func Addr(peer net.Addr) netip.Addr {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}
