package transport_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"foyer/middleware/transport"
)

// What a server sends until its keys are new.
const (
	version = "SSH-2.0-foyer"
	line    = version + "\r\n"
	packet  = "\x00\x00\x00\x0c\x0a\x02.........."
	newKeys = "\x00\x00\x00\x0c\x0a\x15.........."
)

// peer is the server's end of a connection in memory. It takes what the server writes, and reads come from another
// connection or from a reader.
type peer struct {
	net.Conn           // nil where nothing but reads and writes is expected
	from     io.Reader // what the client sends, if not nil; then the end
	most     int       // that a write takes, if not 0

	mu         sync.Mutex
	sent       bytes.Buffer // to the client
	halfClosed bool         // nothing more is sent to the client
	closed     int
	reads      int
	writes     int
	deadlines  []time.Time
}

func (p *peer) Read(b []byte) (int, error) {
	p.mu.Lock()
	p.reads++
	closed := p.closed > 0
	p.mu.Unlock()
	switch {
	case closed:
		return 0, net.ErrClosed
	case p.from != nil:
		return p.from.Read(b)
	case p.Conn != nil:
		return p.Conn.Read(b)
	}
	return 0, io.EOF
}

func (p *peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	if p.most > 0 && len(b) > p.most {
		p.sent.Write(b[:p.most])
		return p.most, io.ErrShortWrite
	}
	return p.sent.Write(b)
}

func (p *peer) CloseWrite() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.halfClosed = true
	return nil
}

func (p *peer) Close() error {
	p.mu.Lock()
	p.closed++
	p.mu.Unlock()
	if p.Conn != nil {
		return p.Conn.Close()
	}
	return nil
}

func (p *peer) SetWriteDeadline(time.Time) error { return nil }

func (p *peer) SetDeadline(t time.Time) error {
	p.deadlines = append(p.deadlines, t)
	return nil
}

// text returns what was sent to the client so far.
func (p *peer) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent.String()
}

func (p *peer) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed > 0
}

// observed notes what an observer is told. It is for one goroutine at a time.
type observed struct {
	events          []string
	received        int
	most            int // bytes that it allows, if not 0
	computing, over int // how often Computing was called with true, and with false
	refuse          bool
}

var errTooMuch = errors.New("too much")

func (o *observed) Spoke()         { o.events = append(o.events, "spoke") }
func (o *observed) KeysExchanged() { o.events = append(o.events, "keys exchanged") }

func (o *observed) Computing(on bool) error {
	switch {
	case !on:
		o.over++
	case o.refuse:
		return errTooMuch
	default:
		o.computing++
	}
	return nil
}

func (o *observed) Received(n int) error {
	if o.received += n; o.most > 0 && o.received > o.most {
		return errTooMuch
	}
	return nil
}

// wrap returns p wrapped, on which the server has written each of these.
func wrap(p *peer, written ...string) (*transport.Conn, *observed) {
	o := &observed{}
	c := transport.New(p, version, o)
	for _, text := range written {
		_, _ = io.WriteString(c, text)
	}
	return c, o
}

// endless is a client that sends as much as is read.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// bytewise is a client whose bytes arrive one by one.
type bytewise struct{ *strings.Reader }

func (b bytewise) Read(p []byte) (int, error) { return b.Reader.Read(p[:min(len(p), 1)]) }
