package main

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"foyer/cmd/cli"
)

// target is a user at a server.
type target struct {
	user    string
	address string // HOST:PORT
}

// parseTarget reads USER@HOST[:PORT]. The default port is 22. An IPv6 address stands in brackets.
func parseTarget(text string) (target, error) {
	at := strings.LastIndexByte(text, '@')
	address := text[at+1:]
	if !strings.Contains(address, ":") || strings.HasSuffix(address, "]") {
		address += ":22"
	}
	host, port, err := net.SplitHostPort(address)
	if at < 1 || err != nil || host == "" || port == "" {
		return target{}, cli.Misuse("write USER@HOST:PORT, as in guest@localhost:2022 or guest@[::1]:2022",
			"target %q is not USER@HOST:PORT", text)
	}
	return target{text[:at], address}, nil
}

// locate returns the address of the target that accepts a connection. It sends nothing to an address that is not
// loopback, unless the user owns the host. All logins then go to this address, whatever the name resolves to later.
func (t target) locate(ctx context.Context, owned bool) (netip.AddrPort, error) {
	dialer := net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		if to, err := netip.ParseAddrPort(address); err != nil || !owned && !to.Addr().Unmap().IsLoopback() {
			return cli.Misuse("if the server is yours, add --i-own-this-host",
				"this is not a loopback address, and to its owner the load would be an attack")
		}
		return nil
	}}
	c, err := dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer func() { _ = c.Close() }()
	return c.RemoteAddr().(*net.TCPAddr).AddrPort(), nil
}
