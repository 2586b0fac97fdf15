package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"foyer/cmd/cli"
)

// target is who knocks, and where.
type target struct {
	user string
	host string // a name or an address, without brackets
	port uint16
}

// parseTarget reads USER@HOST[:PORT]. An IPv6 address stands in brackets, as in guest@[::1]:2022.
func parseTarget(text string) (target, error) {
	const hint = "say USER@HOST:PORT, as in guest@localhost:2022 or guest@[::1]:2022"
	at := strings.LastIndexByte(text, '@')
	if at < 1 {
		return target{}, cli.Misuse(hint, "target %q names no user", text)
	}
	host, port, err := splitPort(text[at+1:])
	if err != nil {
		return target{}, cli.Misuse(hint, "target %q: %w", text, err)
	}
	return target{user: text[:at], host: host, port: port}, nil
}

// splitPort reads HOST[:PORT], where the port is ssh's unless it is there.
func splitPort(text string) (host string, port uint16, err error) {
	bracketed := strings.HasPrefix(text, "[")
	switch {
	case bracketed && strings.HasSuffix(text, "]"), strings.Count(text, ":") == 0:
		text += ":22"
	case !bracketed && strings.Count(text, ":") > 1:
		return "", 0, errors.New("an IPv6 address stands in brackets")
	}
	host, digits, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, errors.New("this is no HOST:PORT")
	}
	if host == "" {
		return "", 0, errors.New("no host")
	}
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || number == 0 {
		return "", 0, fmt.Errorf("port %q is no number from 1 to 65535", digits)
	}
	return host, uint16(number), nil
}

// address is HOST:PORT as known_hosts files have it.
func (t target) address() string { return net.JoinHostPort(t.host, strconv.Itoa(int(t.port))) }

func (t target) String() string { return t.user + "@" + t.address() }

// lookup returns the addresses of a name; [net.Resolver.LookupNetIP] for "ip" is one.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		err = errors.New(unknown.Err) // without the name, which the caller has, and the address of the name server
	}
	return found, err
}

// locate returns the addresses of the target and whether all of them are loopback. It is asked once, before the first
// knock: a name that changes its mind later takes nobody elsewhere.
func (t target) locate(ctx context.Context, ask lookup) (addrs []netip.AddrPort, loopback bool, err error) {
	found, err := ask(ctx, t.host)
	if err == nil && len(found) == 0 {
		err = errors.New("it has no address")
	}
	if err != nil {
		return nil, false, fmt.Errorf("look up %s: %w", t.host, err)
	}
	loopback = true
	for _, addr := range found {
		addr = addr.Unmap()
		loopback = loopback && addr.IsLoopback()
		addrs = append(addrs, netip.AddrPortFrom(addr, t.port))
	}
	return addrs, loopback, nil
}

// refuse is the answer to a target elsewhere that nobody said they own.
func (t target) refuse(addrs []netip.AddrPort) error {
	for _, addr := range addrs {
		if !addr.Addr().IsLoopback() {
			return cli.Misuse("if you own it, say so: --i-own-this-host",
				"%s is at %s, which is not loopback, and to its owner this would be an attack", t.host, addr.Addr())
		}
	}
	return nil
}

// reach returns the first address that takes a connection. A single one is taken as it is: if nobody is there, the
// logins will say so.
func reach(ctx context.Context, addrs []netip.AddrPort, timeout time.Duration) netip.AddrPort {
	if len(addrs) == 1 {
		return addrs[0]
	}
	dialer := net.Dialer{Timeout: timeout}
	for _, addr := range addrs {
		if conn, err := dialer.DialContext(ctx, "tcp", addr.String()); err == nil {
			_ = conn.Close()
			return addr
		}
	}
	return addrs[0]
}
