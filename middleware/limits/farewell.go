package limits

import (
	"cmp"
	"encoding/binary"
	"io"
	"net"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

const (
	msgDisconnect      = 1  // SSH_MSG_DISCONNECT, RFC 4253 section 11.1
	tooManyConnections = 12 // SSH_DISCONNECT_TOO_MANY_CONNECTIONS
	serviceUnavailable = 7  // SSH_DISCONNECT_SERVICE_NOT_AVAILABLE

	// patience is how long a client may take to hear that there is no room, moment how long where many have to be told,
	// and earshot how much of what it says meanwhile is heard: its version line and its KEXINIT. Closed on what it has
	// said, the connection would be reset, and the words could be lost on the way.
	patience = time.Second
	moment   = patience / 200
	earshot  = 8 << 10
)

// Farewells tells clients why they are not let in, or have to go, in a form that they show. That is an
// SSH_MSG_DISCONNECT, which RFC 4253 allows at any time, before the key exchange too, but which the library encrypts for
// nobody; so those who have exchanged keys are told in an SSH_MSG_USERAUTH_BANNER (RFC 4252 section 5.4). A few at a time are
// given time to listen; all others have a moment.
type Farewells struct {
	listening chan struct{}
}

// NewFarewells returns farewells that give time to atOnce clients at a time.
func NewFarewells(atOnce int) *Farewells {
	return &Farewells{make(chan struct{}, atOnce)}
}

// Busy says that there are too many connections, and closes conn: one that a [Table] has let in, or a newcomer.
func (f *Farewells) Busy(conn net.Conn, version string) {
	f.say(conn, version, word{tooManyConnections, "too many visitors at the moment, please try again in a minute"})
}

// Closing says that the server is closing, and closes conn.
func (f *Farewells) Closing(conn net.Conn, version string) {
	f.say(conn, version, word{serviceUnavailable, "this server is closing, please come back later"})
}

// word is the last one that a client hears.
type word struct {
	reason uint32
	text   string
}

func (f *Farewells) say(conn net.Conn, version string, last word) {
	c, known := conn.(*Conn)
	if !known {
		c = &Conn{wire: newWire(conn)}
	}
	w, wait := &c.wire, moment
	select {
	case f.listening <- struct{}{}:
		defer func() { <-f.listening }()
		wait = patience
	default:
	}
	defer func() { _ = w.Conn.Close() }()
	defer time.AfterFunc(wait, func() { _ = w.Conn.Close() }).Stop()
	if !w.disconnect(version, last) {
		w.warn(last, wait)
	}
	w.hearOut()
}

// disconnect tells the client in an SSH_MSG_DISCONNECT, after the version line if that is still to be said, and reports
// whether it could.
func (w *wire) disconnect(version string, last word) (told bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.voice == encrypted {
		return false
	}
	w.left.Store(true)
	var said []byte
	if w.voice == silent {
		said = append(said, "SSH-2.0-"+cmp.Or(version, "Go")+"\r\n"...) // x/crypto's; ssh does not take a line without one
	}
	_, _ = w.Conn.Write(append(said, disconnect(last)...))
	return true
}

// warn tells the client in a banner, once there is a way to send one. The end waits for what the client says next: one
// that reads ahead, as x/crypto's does, finds the end when it wants to say it, and never gets to the banner.
func (w *wire) warn(last word, wait time.Duration) {
	tooLate := time.After(wait)
	select {
	case banner := <-w.banner:
		_ = banner(last.text + "\r\n")
		w.left.Store(true)
	case <-tooLate:
		return
	}
	select {
	case <-w.answer:
	case <-tooLate:
	}
}

// hearOut tells the client that this is all, and lets it say the rest of what it has to say.
func (w *wire) hearOut() {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, w.Conn, earshot)
}

// disconnect returns the message in a packet without encryption (RFC 4253 section 6).
func disconnect(last word) []byte {
	payload := gossh.Marshal(struct {
		Number   uint8
		Reason   uint32
		Words    string
		Language string
	}{msgDisconnect, last.reason, last.text, "en"})
	const block, least = 8, 4
	padding := least + block - (5+len(payload)+least)%block
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	packet = append(append(packet, byte(padding)), payload...)
	return append(packet, make([]byte, padding)...)
}
