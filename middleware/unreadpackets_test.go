package middleware_test

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// golang.org/x/crypto v0.59.0, ssh/handshake.go, readLoop: a client that sends packets behind one that ends the connection
// would leave two goroutines behind, at whatever stage that is. If this fails after an update, look at the library first.
func TestUnreadPackets(t *testing.T) {
	fatal := []byte{sshtest.MsgChannelSuccess}
	request := gossh.Marshal(struct {
		Number byte
		Name   string
	}{sshtest.MsgServiceRequest, "foyer"})
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
			srv := sshtest.Serve(t, middleware.Open(), middleware.Message("hi\n"))
			for range 10 {
				overrun(t, srv.Address, tt.until, tt.flood)
			}
			deadline := time.Now().Add(30 * time.Second)
			for left := inLibrary(); left != ""; left = inLibrary() {
				if time.Now().After(deadline) {
					t.Fatal(left)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// overrun comes as far as until, and sends more packets than the library has room for before it looks at one.
func overrun(t *testing.T, address string, until func(*sshtest.Raw) error, flood []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	held := &heldBack{Conn: conn}
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
	_, _ = conn.Write(held.bytes)
	for err == nil {
		_, err = c.Read()
	}
}

// heldBack holds back what is written, so that it arrives at once.
type heldBack struct {
	net.Conn
	bytes []byte // nil if nothing is held back
}

func (h *heldBack) Write(p []byte) (int, error) {
	if h.bytes == nil {
		return h.Conn.Write(p)
	}
	h.bytes = append(h.bytes, p...)
	return len(p), nil
}

// inLibrary returns a goroutine of the library's that waits for somebody to take a packet, or for one that does.
func inLibrary() string {
	stacks := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		for _, where := range []string{"readLoop", "kexLoop"} {
			if strings.Contains(stack, "ssh.(*handshakeTransport)."+where) {
				return fmt.Sprint("left behind: ", stack)
			}
		}
	}
	return ""
}
