package transport

import (
	"encoding/binary"
	"io"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// Reason is why a client is disconnected, as a number of RFC 4253 section 11.1.
type Reason uint32

// The reasons that foyer gives.
const (
	ServiceNotAvailable Reason = 7
	ByApplication       Reason = 11
	TooManyConnections  Reason = 12
	NoMoreAuthMethods   Reason = 14
)

// maxLastRead is how much of what a client still sends is read after its last message: a version line and a KEXINIT. If
// the connection were closed with unread input, TCP would reset it and the message could be lost.
const maxLastRead = 8 << 10

// AuthStarted notes that authentication begins: banner sends an SSH_MSG_USERAUTH_BANNER from now on (RFC 4252 section 5.4).
// It is called once.
func (c *Conn) AuthStarted(banner func(string) error) {
	c.banner = banner
	close(c.authStarted)
}

// Disconnect tells the client why and closes the connection, after wait at the latest. Before the key exchange the client
// gets an SSH_MSG_DISCONNECT. Afterwards only the library could encrypt one, and does not, so the client gets a banner;
// one that is authenticated gets neither.
func (c *Conn) Disconnect(reason Reason, text string, wait time.Duration) {
	defer func() { _ = c.Conn.Close() }()
	defer time.AfterFunc(wait, func() { _ = c.Conn.Close() }).Stop()
	if !c.sendDisconnect(reason, text) {
		c.sendBanner(text, wait)
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, c.Conn, maxLastRead)
}

// sendDisconnect reports whether the client could still be sent a packet without encryption.
func (c *Conn) sendDisconnect(reason Reason, text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == encrypted {
		return false
	}
	c.lastSent.Store(true)
	message := c.held
	c.held = nil
	if c.phase == silent {
		message = append(message, c.version+"\r\n"...) // ssh accepts no packet without a version line first
	}
	_, _ = c.write(append(message, disconnectPacket(reason, text)...))
	return true
}

// sendBanner sends the banner once the library can. It then waits for the client to send something: a client that reads
// ahead, as x/crypto's does, would otherwise find the connection closed and never look at the banner.
func (c *Conn) sendBanner(text string, wait time.Duration) {
	tooLate := time.After(wait)
	select {
	case <-c.authStarted:
		_ = c.banner(text + "\r\n")
		c.lastSent.Store(true)
	case <-tooLate:
		return
	}
	select {
	case <-c.answered:
	case <-tooLate:
	}
}

// disconnectPacket returns the message in a packet without encryption (RFC 4253 section 6).
func disconnectPacket(reason Reason, text string) []byte {
	payload := gossh.Marshal(struct {
		Type     uint8
		Reason   uint32
		Text     string
		Language string
	}{1, uint32(reason), text, "en"})
	const block, minPadding = 8, 4
	padding := minPadding + block - (5+len(payload)+minPadding)%block
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	packet = append(append(packet, byte(padding)), payload...)
	return append(packet, make([]byte, padding)...)
}
