package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"sync/atomic"
)

// conn is a connection that reads ahead, because x/crypto reads the version byte by byte and each packet in two parts.
// It keeps the error that ended it: x/crypto closes the channels of a lost connection as if the server had done so.
type conn struct {
	net.Conn
	reader *bufio.Reader
	err    atomic.Pointer[error]
}

func newConn(c net.Conn) *conn { return &conn{Conn: c, reader: bufio.NewReaderSize(c, 2048)} }

// Read implements [net.Conn].
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	if err != nil {
		c.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

// ended returns the error that ended reading, or nil.
func (c *conn) ended() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

var errNoVersion = errors.New("no SSH version")

// readVersion reads the server's version and the lines before it (RFC 4253, section 4.2), as many as x/crypto accepts.
func (c *conn) readVersion() error {
	for range 1024 {
		line, err := c.reader.ReadSlice('\n')
		if bytes.HasPrefix(line, []byte("SSH-")) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errNoVersion
}
