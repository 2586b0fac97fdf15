// Package transport holds the one wrapper that foyer puts around a network connection. It reads the client's version line
// in one go, keeps the deadline of the handshake, counts what is received, notes how far the key exchange has come, and
// can tell the client why it is disconnected.
package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxReadAhead is how many bytes Greet reads at most: the longest version line with its line end is 255 bytes (RFC 4253
	// section 4.2), and the start of the client's KEXINIT fits as well.
	maxReadAhead = 512

	// maxBeforeAuth is how many bytes are read from the client between the end of the first key exchange and
	// [Conn.AuthStarted]. A NEWKEYS and a service request take less than 100. Until then x/crypto buffers 16 packets and
	// holds one, and an 18th blocks its reader for ever. The smallest packet has 26 bytes, so these hold at most 17.
	maxBeforeAuth = 448

	// maxAuthWait is how long a client that sends more than that waits for AuthStarted. Then its connection ends: those 18
	// packets must not be read.
	maxAuthWait = time.Second
)

var errEarly = errors.New("client sent too much before authentication started")

// Observer learns what happens on a connection. Its methods are called while the connection is read or written; they must
// not read, write or close it. Received and Computing may return an error to end it, Computing also after a Disconnect.
type Observer interface {
	// Spoke is called once, when the client's first bytes arrive.
	Spoke()
	// KeysExchanged is called once, before the server sends its first SSH_MSG_NEWKEYS.
	KeysExchanged()
	// Computing is called with true when something has arrived before the end of the first key exchange, and may delay what
	// the library computes with it. Unless it returns an error, it is called with false when that is over.
	Computing(bool) error
	// Received is called with the number of bytes of each read. An error ends the connection and is what Read returns.
	Received(n int) error
}

// phase is how far the server's side of the protocol has come. It decides how a client can be told something.
type phase int

const (
	silent    phase = iota // the server has sent nothing
	plain                  // it has sent its version line, and whole packets without encryption
	encrypted              // it has sent its SSH_MSG_NEWKEYS, or something that is not known to be a whole packet
)

// Conn is a network connection as the SSH library sees it.
type Conn struct {
	net.Conn
	version  string // the server's version line, without its line end
	observer Observer
	remote   net.Addr // what the proxy says; nil if there is none

	// The reader's.
	ahead   []byte // read from the network and not yet by the library
	readErr error  // what comes after ahead
	early   int    // bytes read since the first key exchange, until authentication starts

	computing   atomic.Bool   // see Observer
	keysSent    atomic.Bool   // the first key exchange is over for the server
	authStarted chan struct{} // closed by AuthStarted
	banner      func(string) error
	lastSent    atomic.Bool   // the server has sent its last message; the library may read and write no more
	answered    chan struct{} // receives when the client sends something after that

	mu       sync.Mutex // held during a write
	phase    phase
	greeted  bool // Greet has sent the version line; when the library writes it too, it is left out
	writeErr error
	holding  bool // see Hold
	held     []byte
	release  *time.Timer

	received, sent atomic.Int64

	exchangeHeld atomic.Bool // held has the end of a key exchange, which the next read releases

	deadlineMu sync.Mutex
	limit      time.Time // no deadline is later than this; zero for none
}

// New returns conn wrapped for a server that announces version, such as "SSH-2.0-foyer".
func New(conn net.Conn, version string, observer Observer) *Conn {
	return &Conn{
		Conn: conn, version: version, observer: observer,
		authStarted: make(chan struct{}), answered: make(chan struct{}, 1),
	}
}

// Greet sends the server's version line and waits for the client's, so that the library allocates nothing for a client that
// stays silent (RFC 4253 section 4.2: both sides send their version at once). A client that begins with anything else is
// told so, and the error is a [*NotSSHError]. An error also comes back from the library's first read.
func (c *Conn) Greet() error {
	c.mu.Lock()
	_, c.readErr = c.write([]byte(c.version + "\r\n"))
	c.phase, c.greeted = plain, true
	c.mu.Unlock()
	if c.readErr != nil {
		return c.readErr
	}
	var first [1]byte // all the memory that a silent client takes here
	if _, c.readErr = c.Conn.Read(first[:]); c.readErr != nil {
		return c.readErr
	}
	c.observer.Spoke()
	ahead := append(make([]byte, 0, maxReadAhead), first[0])
	is, may := isVersion(ahead)
	for !is && may && c.readErr == nil {
		ahead, c.readErr = readMore(c.Conn, ahead)
		is, may = isVersion(ahead)
	}
	if !may {
		ahead, c.readErr = c.refuseVersion(ahead)
	}
	c.received.Add(int64(len(ahead)))
	if err := c.observer.Received(len(ahead)); err != nil {
		c.readErr = err
		return err
	}
	if may {
		c.ahead = ahead
	}
	return c.readErr
}

// Traffic returns how many bytes were received and sent so far, without a PROXY header.
func (c *Conn) Traffic() (received, sent int64) { return c.received.Load(), c.sent.Load() }

// write writes to the network.
func (c *Conn) write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	switch {
	case len(c.ahead) > 0:
		n := copy(p, c.ahead)
		if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
			c.ahead = nil // its memory can be freed
		}
		return n, nil
	case c.readErr != nil:
		return 0, c.readErr
	}
	c.computed()
	if c.exchangeHeld.Swap(false) {
		_ = c.Release()
	}
	room, counts, err := c.room(len(p))
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p[:room])
	if counts {
		c.early += n
	}
	if c.lastSent.Load() {
		select {
		case c.answered <- struct{}{}:
		default:
		}
		return 0, net.ErrClosed
	}
	if n > 0 {
		c.received.Add(int64(n))
		if err := c.observer.Received(n); err != nil {
			return 0, err
		}
		if err := c.compute(); err != nil {
			return 0, err
		}
	}
	return n, err
}

// compute is called when the library is about to compute with what has arrived.
func (c *Conn) compute() error {
	if c.keysSent.Load() {
		return nil
	}
	err := c.observer.Computing(true)
	c.computing.Store(err == nil)
	return err
}

// computed is called when the library reads, writes or closes, and so has computed what it had to.
func (c *Conn) computed() {
	if c.computing.Swap(false) {
		_ = c.observer.Computing(false)
	}
}

// room returns how many of n bytes may be read now, and whether they count towards maxBeforeAuth. A client that sends more,
// such as its first attempt to authenticate, waits until authentication starts.
func (c *Conn) room(n int) (room int, counts bool, err error) {
	if !c.keysSent.Load() {
		return n, false, nil
	}
	select {
	case <-c.authStarted:
		return n, false, nil
	default:
	}
	if left := maxBeforeAuth - c.early; left > 0 {
		return min(n, left), true, nil
	}
	select {
	case <-c.authStarted:
		return n, false, nil
	case <-time.After(maxAuthWait):
		return 0, false, errEarly
	}
}

// Write implements [net.Conn].
func (c *Conn) Write(p []byte) (int, error) {
	c.computed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lastSent.Load() {
		return 0, net.ErrClosed
	}
	if c.greeted {
		c.greeted = false
		if string(p) == c.version+"\r\n" {
			return len(p), nil
		}
	}
	endsExchange := c.phase == plain && len(p) > messageType && (p[messageType] == newKeys || p[messageType] == share)
	if c.phase != encrypted {
		if c.phase = c.phase.after(p); c.phase == encrypted {
			c.keysSent.Store(true)
			c.observer.KeysExchanged()
		}
	}
	if err := c.send(p, endsExchange); err != nil {
		c.phase = encrypted // nothing can follow half a packet
		return 0, err
	}
	return len(p), nil
}

// Where a packet without encryption has its type (RFC 4253 section 6), and the types that end a key exchange: SSH_MSG_NEWKEYS
// (section 7.3), and SSH_MSG_KEXDH_REPLY or SSH_MSG_KEX_ECDH_REPLY (section 8, RFC 5656 section 4).
const (
	messageType = 5
	newKeys     = 21
	share       = 31
)

// after returns the phase once p is sent. The library writes one packet at a time; anything else counts as encrypted.
func (now phase) after(p []byte) phase {
	const lengthField = 4
	switch {
	case now == silent && bytes.HasPrefix(p, []byte("SSH-2.0-")) && bytes.HasSuffix(p, []byte("\r\n")):
		return plain
	case now == plain && len(p) > messageType && int(binary.BigEndian.Uint32(p)) == len(p)-lengthField && p[messageType] != newKeys:
		return plain
	}
	return encrypted
}

// LimitDeadline sets the deadline, and SetDeadline sets no later one from now on. The zero time removes this limit, and keeps
// the deadline.
func (c *Conn) LimitDeadline(latest time.Time) {
	c.deadlineMu.Lock()
	c.limit = latest
	c.deadlineMu.Unlock()
	if !latest.IsZero() {
		_ = c.Conn.SetDeadline(latest)
	}
}

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	c.deadlineMu.Lock()
	defer c.deadlineMu.Unlock()
	if !c.limit.IsZero() && (t.IsZero() || t.After(c.limit)) {
		t = c.limit
	}
	return c.Conn.SetDeadline(t)
}

// Close implements [net.Conn]. After [Conn.Disconnect] has sent its message, Disconnect closes the connection.
func (c *Conn) Close() error {
	c.computed()
	if c.lastSent.Load() {
		return nil
	}
	if c.mu.TryLock() { // a write that is stuck holds the lock, and ends when the connection is closed
		if len(c.held) > 0 {
			_ = c.Conn.SetWriteDeadline(time.Now().Add(maxHold))
			_ = c.flush(nil)
		}
		c.mu.Unlock()
	}
	return c.Conn.Close()
}
