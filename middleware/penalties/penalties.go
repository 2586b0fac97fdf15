// Package sources tells where connections come from, and keeps what each source owes for those that came to nothing.
//
// A source is the network that one visitor is taken to have: for IPv4 an address, usually, and for IPv6 a /64. A
// [Table] keeps the penalties of many, and a [Ledger] decides what is one: it is the whole of the penalties layer but
// for its hooks.
package penalties

import (
	"net"
	"net/netip"

	"foyer/middleware/source"
)

// Addr returns the address of a TCP peer, without a zone. An IPv4 address that came mapped into IPv6 is IPv4: it is
// the same visitor on another socket. What it returns is not valid for nil and for peers that are not TCP's.
func Addr(peer net.Addr) netip.Addr {
	return source.Addr(peer)
}

// Prefix returns the source that addr belongs to: its first bits4 bits if it is of IPv4, else its first bits6. It is
// the zero Prefix where addr does not have as many.
func Prefix(addr netip.Addr, bits4, bits6 int) netip.Prefix {
	network, _ := source.Networks{Bits4: bits4, Bits6: bits6}.Of(addr)
	return network
}
