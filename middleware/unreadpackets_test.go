package middleware_test

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// golang.org/x/crypto v0.59.0, ssh/handshake.go, readLoop: where a client sends packets after one that ends the connection,
// the library leaves two goroutines behind, at any stage. If this fails after an update, look at the library first.
func TestUnreadPackets(t *testing.T) {
	fatal := []byte{sshtest.MsgChannelSuccess}
	request := sshtest.Message(sshtest.MsgServiceRequest, "foyer")
	for _, tt := range []struct {
		stage string
		until func(*sshtest.Raw) error
		flood []byte
	}{
		{"service", func(*sshtest.Raw) error { return nil }, request},
		{"authentication", func(c *sshtest.Raw) error { return c.Service("ssh-userauth") }, fatal},
		{"session", func(c *sshtest.Raw) error {
			if err := c.Service("ssh-userauth"); err != nil {
				return err
			}
			_, err := c.Attempt("guest", "ssh-connection", "none", nil)
			return err
		}, fatal},
	} {
		t.Run(tt.stage, func(t *testing.T) {
			srv := sshtest.Serve(t, middleware.Open(), middleware.Message(middleware.Fixed("hi\n")))
			for range 10 {
				overrun(t, srv, tt.until, tt.flood)
			}
			if !sshtest.Within(sshtest.Patience, func() bool { return inLibrary() == "" }) {
				t.Errorf("left behind: %s", inLibrary())
			}
		})
	}
}

// overrun continues the connection as far as until, and then sends more packets at once than the library buffers.
func overrun(t *testing.T, srv *sshtest.Server, until func(*sshtest.Raw) error, flood []byte) {
	t.Helper()
	held := &heldBack{Conn: srv.DialTCP(t)}
	c := sshtest.NewRaw(held)
	if err := c.Greet("SSH-2.0-overrun"); err != nil {
		t.Fatal(err)
	}
	if err := c.Keys(sshtest.Curve25519); err != nil {
		t.Fatal(err)
	}
	if err := until(c); err != nil {
		t.Fatal(err)
	}
	held.bytes = []byte{}
	for range 40 {
		_ = c.Write(flood)
	}
	_, _ = held.Conn.Write(held.bytes)
	_, _ = io.Copy(io.Discard, held.Conn)
}

// heldBack keeps what is written, so that it can be sent at once.
type heldBack struct {
	net.Conn
	bytes []byte // nil where writes pass through
}

func (h *heldBack) Write(p []byte) (int, error) {
	if h.bytes == nil {
		return h.Conn.Write(p)
	}
	h.bytes = append(h.bytes, p...)
	return len(p), nil
}

// inLibrary returns the stack of a goroutine of the library that serves a connection, or "".
func inLibrary() string {
	stacks := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		for _, where := range []string{"readLoop", "kexLoop"} {
			if strings.Contains(stack, "ssh.(*handshakeTransport)."+where) {
				return stack
			}
		}
	}
	return ""
}
