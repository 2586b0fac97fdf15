package transport

import (
	"bytes"
	"io"
	"time"
)

// versions are how a client's version line begins (RFC 4253 sections 4.2 and 5.1).
var versions = [][]byte{[]byte("SSH-2.0-"), []byte("SSH-1.99-")}

// isVersion reports whether a client's first bytes begin a version line, or may do so when more arrive.
func isVersion(first []byte) (is, may bool) {
	for _, version := range versions {
		n := min(len(version), len(first))
		may = may || bytes.Equal(first[:n], version[:n])
		is = is || bytes.HasPrefix(first, version)
	}
	return is, may
}

// NotSSHError is why a connection ends whose client does not begin with a version line of SSH 2.
type NotSSHError struct {
	Guess string // what the client seems to speak: "TLS"; or ""
}

func (e *NotSSHError) Error() string {
	if e.Guess == "" {
		return "not SSH"
	}
	return "not SSH: it looks like " + e.Guess
}

// Hint says what the operator can do about it.
func (e *NotSSHError) Hint() string {
	if e.Guess == proxyHeader {
		return "if this is your balancer, add its network to --proxy-from"
	}
	return ""
}

const proxyHeader = "a PROXY header"

// protocols are how other clients begin that reach SSH ports.
var protocols = []struct{ prefix, name string }{
	{"\x16\x03", "TLS"},
	{"PROXY ", proxyHeader}, {proxySignature, proxyHeader},
	{"GET ", "HTTP"}, {"HEAD ", "HTTP"}, {"POST ", "HTTP"}, {"PUT ", "HTTP"}, {"DELETE ", "HTTP"}, {"OPTIONS ", "HTTP"},
	{"CONNECT ", "HTTP"}, {"PRI * HTTP/2", "HTTP"},
	{"SSH-1.", "SSH 1"},
	{"EHLO ", "SMTP"}, {"HELO ", "SMTP"},
	{"\x03\x00\x00", "RDP"},
}

// notSSH returns the error for a client's first bytes.
func notSSH(first []byte) *NotSSHError {
	for _, protocol := range protocols {
		if bytes.HasPrefix(first, []byte(protocol.prefix)) {
			return &NotSSHError{protocol.name}
		}
	}
	return &NotSSHError{}
}

// maxRefusal is how long a client may take to send the rest of what it sends instead of a version line.
const maxRefusal = 5 * time.Millisecond

// refuseVersion tells a client, in sshd's words, that it does not speak SSH (sshd.c, "Invalid SSH identification string"). It
// returns all that the client has sent.
func (c *Conn) refuseVersion(first []byte) ([]byte, error) {
	_, _ = io.WriteString(c.Conn, "Invalid SSH identification string.\r\n")
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = c.Conn.SetDeadline(time.Now().Add(maxRefusal))
	first, _ = readMore(c.Conn, first)
	_, _ = io.CopyN(io.Discard, c.Conn, maxLastRead) // with unread input, TCP would reset the connection
	return first, notSSH(first)
}

// readMore reads what is there into the rest of p.
func readMore(from io.Reader, p []byte) ([]byte, error) {
	n, err := from.Read(p[len(p):cap(p)])
	return p[:len(p)+n], err
}
