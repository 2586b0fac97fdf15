package connections

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

	// patience is how long a client may take to hear that there is no room, and earshot how much of what it says
	// meanwhile is heard: its version line and its KEXINIT. Closed on what it has said, the connection would be reset,
	// and the words could be lost on the way.
	patience = time.Second
	earshot  = 8 << 10
)

// Farewells tells clients why they are not let in, in a form that they show: the server's version and an
// SSH_MSG_DISCONNECT, which RFC 4253 allows at any time, before the key exchange too. A few at a time are given time to
// listen; all others hear it if they are quick.
type Farewells struct {
	listening chan struct{}
}

// NewFarewells returns farewells that give time to atOnce clients at a time.
func NewFarewells(atOnce int) *Farewells {
	return &Farewells{make(chan struct{}, atOnce)}
}

// Busy says that there are too many connections, and closes conn.
func (f *Farewells) Busy(conn net.Conn, version string) {
	f.say(conn, version, tooManyConnections, "too many visitors at the moment, please try again in a minute")
}

// Closing says that the server is closing, and closes conn.
func (f *Farewells) Closing(conn net.Conn, version string) {
	f.say(conn, version, serviceUnavailable, "this server is closing, please come back later")
}

func (f *Farewells) say(conn net.Conn, version string, reason uint32, words string) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	version = "SSH-2.0-" + cmp.Or(version, "Go") // which is x/crypto's; ssh does not take a line without one
	if _, err := conn.Write(append([]byte(version+"\r\n"), disconnect(reason, words)...)); err != nil {
		return
	}
	select {
	case f.listening <- struct{}{}:
		defer func() { <-f.listening }()
	default:
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, conn, earshot)
}

// disconnect returns the message in a packet without encryption (RFC 4253 section 6).
func disconnect(reason uint32, words string) []byte {
	payload := gossh.Marshal(struct {
		Number   uint8
		Reason   uint32
		Words    string
		Language string
	}{msgDisconnect, reason, words, "en"})
	const block, least = 8, 4
	padding := least + block - (5+len(payload)+least)%block
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	packet = append(append(packet, byte(padding)), payload...)
	return append(packet, make([]byte, padding)...)
}
