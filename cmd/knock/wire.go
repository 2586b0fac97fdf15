package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
)

// wire is a connection that reads ahead, since the library reads the version line byte by byte and each packet in two
// parts. It keeps the first line that is no version but words (RFC 4253, section 4.2), for the case that no version
// follows, as of a server that takes nobody in; and it remembers how its reading ended: the library closes the channels
// of a connection that was lost as if the server had closed them.
type wire struct {
	net.Conn
	reader     *bufio.Reader
	first      []byte // the line that is not empty and came first, until then nil
	line       []byte // the one that is being read, and in the end the version
	hasVersion bool
	ended      atomic.Bool           // nothing more will be read
	err        atomic.Pointer[error] // why
}

// readAhead holds all that a server says at once, but for long messages.
const readAhead = 2048

func newWire(conn net.Conn) *wire {
	return &wire{Conn: conn, reader: bufio.NewReaderSize(conn, readAhead)}
}

// Read implements [net.Conn].
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.reader.Read(p)
	if !w.hasVersion {
		w.listen(p[:n])
	}
	if err != nil {
		w.err.CompareAndSwap(nil, &err)
		w.ended.Store(true)
	}
	return n, err
}

// listen takes down what a server says until it has said its version. Of a long line only the beginning matters.
func (w *wire) listen(said []byte) {
	for part := range bytes.Lines(said) {
		w.line = append(w.line, part[:min(len(part), maxReason-len(w.line))]...)
		switch {
		case part[len(part)-1] != '\n':
		case w.atVersion():
			w.hasVersion = true
			return
		default:
			if len(w.first) == 0 {
				w.first = bytes.Clone(bytes.TrimSpace(w.line))
			}
			w.line = w.line[:0]
		}
	}
}

// atVersion reports whether the line that is being read is the version.
func (w *wire) atVersion() bool { return bytes.HasPrefix(w.line, []byte("SSH-")) }

// words returns what a server said instead of its version, or "". It is asked when the handshake has failed. What a
// server said and went on to its version is no reason for that.
func (w *wire) words() string {
	switch {
	case w.atVersion():
		return ""
	case len(w.first) > 0:
		return string(w.first)
	case strings.HasPrefix("SSH-", string(w.line)): // as far as it came
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
