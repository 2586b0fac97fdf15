package transport_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"foyer/middleware/transport"
)

// Headers of version 2: the signature, version and command, family and transport, and the length of what follows.
const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	ipv4      = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x12\x67\x00\x16" // 192.0.2.1:4711 to 192.0.2.2:22
	ipv6      = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x12\x67\x00\x16"
	noop = "\x04\x00\x03..." // a TLV of three bytes
)

var proxyHeaders = map[string]struct{ header, addr string }{
	"version 1":                      {"PROXY TCP4 192.0.2.1 192.0.2.2 4711 22\r\n", "192.0.2.1:4711"},
	"version 1, IPv6":                {"PROXY TCP6 2001:db8::1 2001:db8::2 4711 22\r\n", "[2001:db8::1]:4711"},
	"version 1, unknown":             {"PROXY UNKNOWN\r\n", "proxy 198.51.100.9:80"},
	"version 1, the longest line":    {"PROXY UNKNOWN" + strings.Repeat(" ", 107-15) + "\r\n", "proxy 198.51.100.9:80"},
	"version 1, too long":            {"PROXY UNKNOWN" + strings.Repeat(" ", 108-15) + "\r\n", ""},
	"version 1, endless":             {"PROXY TCP4 " + strings.Repeat("1", 1<<20), ""},
	"version 1, without an end":      {"PROXY TCP4 192.0.2.1", ""},
	"version 1, no address":          {"PROXY TCP4 localhost localhost 1 2\r\n", ""},
	"version 1, a zone":              {"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", ""},
	"version 1, of the proxy itself": {"PROXY TCP4 198.51.100.9 192.0.2.2 80 22\r\n", "proxy 198.51.100.9:80"},
	"version 2":                      {signature + "\x21\x11\x00\x0c" + ipv4, "192.0.2.1:4711"},
	"version 2, IPv6":                {signature + "\x21\x21\x00\x24" + ipv6, "[2001:db8::1]:4711"},
	"version 2, TLVs":                {signature + "\x21\x11\x00\x12" + ipv4 + noop, "192.0.2.1:4711"},
	"version 2, the longest TLVs":    {signature + "\x21\x11\x10\x00" + ipv4 + strings.Repeat(noop, 680) + "\x04\x00\x01.", "192.0.2.1:4711"},
	"version 2, too long":            {signature + "\x21\x11\x10\x01" + ipv4 + strings.Repeat(noop, 1000), ""},
	"version 2, local":               {signature + "\x20\x00\x00\x00", "proxy 198.51.100.9:80"},
	"version 2, local with TLVs":     {signature + "\x20\x11\x00\x12" + ipv4 + noop, "proxy 198.51.100.9:80"},
	"version 2, unspecified":         {signature + "\x21\x00\x00\x06" + noop, "proxy 198.51.100.9:80"},
	"version 2, a Unix socket":       {signature + "\x21\x31\x00\xd8" + strings.Repeat("\x00", 216), "proxy 198.51.100.9:80"},
	"version 2, UDP":                 {signature + "\x21\x12\x00\x0c" + ipv4, ""},
	"version 2, cut short":           {signature + "\x21\x11\x00\x0c" + ipv4[:5], ""},
	"version 2, half its start":      {signature + "\x21", ""},
	"version 2, too few bytes":       {signature + "\x21\x11\x00\x04" + ipv4, ""},
	"version 3":                      {signature + "\x31\x11\x00\x0c" + ipv4, ""},
	"nothing":                        {"", "eof"},
	"five bytes":                     {"PROXY", ""},
	"SSH":                            {"SSH-2.0-client\r\n", ""},
}

// addressed is a peer with the address of a proxy.
type addressed struct{ *peer }

func (addressed) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(198, 51, 100, 9), Port: 80}
}

func proxied(from io.Reader) *transport.Conn {
	return transport.New(addressed{&peer{from: from}}, version, &observed{})
}

// The address of a header is the connection's, and what follows the header is left for the client's version line.
func TestReadProxyHeader(t *testing.T) {
	for name, tt := range proxyHeaders {
		for how, whole := range map[string]func(io.Reader) io.Reader{"": func(r io.Reader) io.Reader { return r }, " byte by byte": iotest.OneByteReader} {
			rest := "SSH-2.0-client\r\n"
			if tt.addr == "" || tt.addr == "eof" {
				rest = ""
			}
			c := proxied(whole(strings.NewReader(tt.header + rest)))
			err := c.ReadProxyHeader()
			switch {
			case tt.addr == "eof":
				if err != io.EOF {
					t.Errorf("%s%s: error %v, want EOF", name, how, err)
				}
			case tt.addr == "":
				if err == nil || err == io.EOF {
					t.Errorf("%s%s: error %v, address %v", name, how, err, c.RemoteAddr())
				}
			case err != nil || c.RemoteAddr().String() != tt.addr:
				t.Errorf("%s%s: error %v, address %v, want %s", name, how, err, c.RemoteAddr(), tt.addr)
			default:
				if err := c.Greet(); err != nil {
					t.Errorf("%s%s: after the header: %v", name, how, err)
				}
			}
		}
	}
}

// Whatever a proxy sends, a header is bounded, and what is accepted is an address.
func FuzzReadProxyHeader(f *testing.F) {
	for _, tt := range proxyHeaders {
		f.Add([]byte(tt.header))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		from := strings.NewReader(string(sent))
		c := proxied(from)
		err := c.ReadProxyHeader()
		if read := len(sent) - from.Len(); read > 16+4096 {
			t.Errorf("%d bytes are read", read)
		}
		_, unknown := c.RemoteAddr().(transport.ProxyAddr)
		tcp, ok := c.RemoteAddr().(*net.TCPAddr)
		if err == nil && !unknown && (!ok || !tcp.AddrPort().IsValid()) {
			t.Errorf("%q is the header of %v", sent, c.RemoteAddr())
		}
		if err != nil && errors.Is(err, net.ErrClosed) {
			t.Errorf("%q: %v", sent, err)
		}
	})
}
