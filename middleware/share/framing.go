package share

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
)

// maxItems is how many values an answer of the engine may have, and maxLine how long a line of it may be, in bytes.
const (
	maxItems = 1 << 18
	maxLine  = 64 << 10
)

var errFraming = errors.New("the engine's answer is not valid")

// dialer returns dial, or what the library does without it, for connections whose answers are checked. The library allocates
// what the engine announces, and a length that is negative or too large would end the process.
func dialer(dial func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error)) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (conn net.Conn, err error) {
		switch {
		case dial != nil:
			conn, err = dial(ctx, address, d, secure)
		case secure != nil:
			conn, err = (&tls.Dialer{NetDialer: d, Config: secure}).DialContext(ctx, "tcp", address)
		default:
			conn, err = d.DialContext(ctx, "tcp", address)
		}
		if err != nil {
			return nil, err
		}
		return &framedConn{Conn: conn}, nil
	}
}

// framedConn is a connection that reads valid answers of bounded size only
// (https://redis.io/docs/latest/develop/reference/protocol-spec).
type framedConn struct {
	net.Conn
	line  []byte // of the value that is being read, so far
	skip  int    // bytes of a string that follow
	left  int    // values of the answer that follow
	items int    // values of the answer
}

// Read implements [net.Conn].
func (c *framedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		used, invalid := c.scan(rest)
		if invalid != nil {
			_ = c.Close()
			return 0, invalid
		}
		rest = rest[used:]
	}
	return n, err
}

// scan reads a part of a string, or of a line. It returns how many bytes that is.
func (c *framedConn) scan(data []byte) (used int, err error) {
	if c.skip > 0 {
		used = min(c.skip, len(data))
		c.skip -= used
		return used, nil
	}
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		c.line = append(c.line, data...)
		if len(c.line) > maxLine {
			return 0, errFraming
		}
		return len(data), nil
	}
	line := append(c.line, data[:end+1]...)
	c.line = c.line[:0]
	return end + 1, c.value(line)
}

// value reads the line with which a value begins.
func (c *framedConn) value(line []byte) error {
	if len(line) > maxLine || len(line) < 3 {
		return errFraming
	}
	if c.left > 0 {
		c.left--
	} else {
		c.items = 0
	}
	values := 1 // of each element
	switch line[0] {
	case '$', '=', '!':
		n, err := announced(line, maxMessage)
		if n >= 0 {
			c.skip = n + len("\r\n")
		}
		return err
	case '|': // attributes of the value that follows
		c.left++
		values = 2
	case '%':
		values = 2
	case '*', '~', '>':
	default: // a value that is one line
		return nil
	}
	n, err := announced(line, maxItems)
	c.left += max(n, 0) * values
	c.items += max(n, 0)*values + 1
	if c.items > maxItems {
		return errFraming
	}
	return err
}

// announced returns the number in a line: -1 for a value that is null, and otherwise at most most.
func announced(line []byte, most int) (int, error) {
	n, err := strconv.Atoi(string(bytes.TrimRight(line[1:], "\r\n")))
	if err != nil || n < -1 || n > most {
		return 0, errFraming
	}
	return n, nil
}
