package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/pires/go-proxyproto"
)

// The sizes of PROXY headers, as the specification gives them
// (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt): version 1 is a line of 107 bytes at most; version 2 begins
// with 16 bytes, the last two of which are the length of the rest. The rest is addresses and extensions such as the
// client's certificate, for which 4 KiB is the limit of the library too.
const (
	proxySignature   = "\r\n\r\n\x00\r\nQUIT\n"
	proxyUnspecified = proxySignature + "\x21\x00" // version 2, for a client of an unspecified address family
	maxProxyLine     = 107
	proxyStart       = 16
	maxProxyRest     = 4096
)

var errProxyHeader = errors.New("no PROXY header")

// ProxyAddr is the address of a proxy that does not say for whom it connects: for itself, as for a health check, or for a
// client without an address. It is no address of a source (package source).
type ProxyAddr struct{ net.Addr }

func (a ProxyAddr) String() string { return "proxy " + a.Addr.String() }

// ReadProxyHeader reads the PROXY header, of version 1 or 2, with which the connection of a trusted proxy begins, and not a
// byte more. From then on RemoteAddr returns the address in it, or a [ProxyAddr] if it has none. It is called before Greet,
// and before another goroutine uses RemoteAddr. The error is io.EOF if the proxy has closed the connection without a byte.
func (c *Conn) ReadProxyHeader() error {
	raw, err := readProxyHeader(c.Conn)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(raw, []byte(proxyUnspecified)) { // which the library refuses
		c.remote = ProxyAddr{c.Conn.RemoteAddr()}
		return nil
	}
	header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	from, _, ok := header.TCPAddrs()
	switch {
	case header.Command.IsLocal(), header.TransportProtocol.IsUnix(), ok && from.String() == c.Conn.RemoteAddr().String():
		c.remote = ProxyAddr{c.Conn.RemoteAddr()} // HAProxy's checks with version 1 name the proxy's own address and port
	case ok:
		c.remote = from
	default:
		return fmt.Errorf("%w: it is not for TCP", errProxyHeader)
	}
	return nil
}

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

// readProxyHeader reads what its first bytes say is a header.
func readProxyHeader(from io.Reader) ([]byte, error) {
	header := make([]byte, len(proxySignature), maxProxyLine)
	if n, err := io.ReadFull(from, header); err != nil {
		return header[:n], cutShort(n, err)
	}
	switch {
	case string(header) == proxySignature:
		return readProxyRest(from, header)
	case bytes.HasPrefix(header, []byte("PROXY ")):
		return readProxyLine(from, header)
	}
	return header, fmt.Errorf("%w: it begins with %q", errProxyHeader, header)
}

// readProxyRest reads the rest of a header of version 2.
func readProxyRest(from io.Reader, header []byte) ([]byte, error) {
	header = header[:proxyStart]
	if _, err := io.ReadFull(from, header[len(proxySignature):]); err != nil {
		return header, cutShort(proxyStart, err)
	}
	length := int(binary.BigEndian.Uint16(header[proxyStart-2:]))
	if length > maxProxyRest {
		return header, fmt.Errorf("%w: it has %d bytes", errProxyHeader, proxyStart+length)
	}
	header = append(header, make([]byte, length)...)
	_, err := io.ReadFull(from, header[proxyStart:])
	return header, cutShort(proxyStart, err)
}

// readProxyLine reads the rest of a header of version 1 byte by byte, because what follows it belongs to the client.
func readProxyLine(from io.Reader, header []byte) ([]byte, error) {
	for len(header) < maxProxyLine {
		n := len(header)
		if _, err := io.ReadFull(from, header[n:n+1]); err != nil {
			return header, cutShort(n, err)
		}
		if header = header[:n+1]; header[n] == '\n' {
			return header, nil
		}
	}
	return header, fmt.Errorf("%w: the line is longer than %d bytes", errProxyHeader, maxProxyLine)
}

// cutShort returns the error of a header of which n bytes have arrived.
func cutShort(n int, err error) error {
	if n > 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return fmt.Errorf("%w: it is cut short", errProxyHeader)
	}
	return err
}
