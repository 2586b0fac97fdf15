package limits

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
)

const msgNewKeys = 21 // SSH_MSG_NEWKEYS, RFC 4253 section 7.3

// wire is a network connection that knows in what form a server can say a last word on it.
type wire struct {
	net.Conn
	onKeys func()                  // called when the server has the keys, if it is not nil
	banner chan func(string) error // has what sends an SSH_MSG_USERAUTH_BANNER, once there is such a thing
	left   atomic.Bool             // the server has said its last word, and is done with the connection
	answer chan struct{}           // and this is what has been said to it since

	mu    sync.Mutex // held while something is written
	voice voice
}

func newWire(conn net.Conn) wire {
	return wire{Conn: conn, banner: make(chan func(string) error, 1), answer: make(chan struct{}, 1)}
}

// voice is the form in which the server speaks.
type voice int

const (
	silent    voice = iota // it has said nothing
	plain                  // its version, and packets without encryption
	encrypted              // and all from SSH_MSG_NEWKEYS on, or what is neither
)

// after returns what the voice is once p is said. Each packet is a write, but for those that end with new keys: what is
// more than one packet, or less, counts as encrypted.
func (v voice) after(p []byte) voice {
	const lengths, number = 4, 5 // RFC 4253 section 6
	switch {
	case v == silent && bytes.HasPrefix(p, []byte("SSH-2.0-")) && bytes.HasSuffix(p, []byte("\r\n")):
		return plain
	case v == plain && len(p) > number && int(binary.BigEndian.Uint32(p)) == len(p)-lengths && p[number] != msgNewKeys:
		return plain
	}
	return encrypted
}

// Write implements [net.Conn].
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left.Load() {
		return 0, net.ErrClosed
	}
	if w.voice != encrypted {
		w.voice = w.voice.after(p)
		if w.voice == encrypted && w.onKeys != nil {
			w.onKeys()
		}
	}
	n, err := w.Conn.Write(p)
	if err != nil {
		w.voice = encrypted // half a packet is none
	}
	return n, err
}

// Read implements [net.Conn].
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.left.Load() {
		select {
		case w.answer <- struct{}{}:
		default:
		}
		return 0, net.ErrClosed
	}
	return n, err
}

// Close implements [net.Conn]. Where the server has said its last word, the one who said it closes the connection.
func (w *wire) Close() error {
	if w.left.Load() {
		return nil
	}
	return w.Conn.Close()
}
