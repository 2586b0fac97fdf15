package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"sync/atomic"
)

// wire is a connection that reads ahead, since the library reads the version line byte by byte and each packet in two
// parts. It keeps the first line for the case that it holds no version but words (RFC 4253, section 4.2), as of a
// server that takes nobody in; and it remembers how its reading ended: the library closes the channels of a connection
// that was lost as if the server had closed them.
type wire struct {
	net.Conn
	reader  *bufio.Reader
	line    []byte // the first one, as far as it was read
	hasLine bool
	ended   atomic.Bool           // nothing more will be read
	err     atomic.Pointer[error] // why
}

// readAhead holds all that a server says at once, but for long messages.
const readAhead = 2048

func newWire(conn net.Conn) *wire {
	return &wire{Conn: conn, reader: bufio.NewReaderSize(conn, readAhead)}
}

// Read implements [net.Conn].
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.reader.Read(p)
	if !w.hasLine {
		w.line = append(w.line, p[:n]...)
		w.hasLine = len(w.line) >= maxReason || bytes.IndexByte(w.line, '\n') >= 0
	}
	if err != nil {
		w.err.CompareAndSwap(nil, &err)
		w.ended.Store(true)
	}
	return n, err
}

// words returns what a server said instead of its version, or "". It is asked when the handshake has failed.
func (w *wire) words() string {
	if bytes.HasPrefix(w.line, []byte("SSH-")) {
		return ""
	}
	return string(bytes.TrimSpace(w.line))
}

// timedOut returns the error that ended the connection if that was its deadline.
func (w *wire) timedOut() error {
	if err := w.err.Load(); err != nil && errors.Is(*err, os.ErrDeadlineExceeded) {
		return *err
	}
	return nil
}
