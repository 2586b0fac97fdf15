package middleware_test

import (
	"io"
	"net"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

// rawClient is a [sshtest.Raw] in the house's words.
type rawClient struct {
	*sshtest.Raw
	conn net.Conn
}

const (
	msgDisconnect      = sshtest.MsgDisconnect
	msgServiceRequest  = sshtest.MsgServiceRequest
	msgUserauthRequest = sshtest.MsgUserauthRequest
	msgUserauthSuccess = sshtest.MsgUserauthSuccess
)

// dialTCP connects and says nothing. The connection is closed with the test.
func dialTCP(t testing.TB, srv *sshtest.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// hangUp says that nothing more will come, and reads what did: closing at once would reset the connection.
func hangUp(conn net.Conn) {
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}

// dialRaw connects with a version line, which lacks its line end, agrees on keys by the method kex, and asks for
// authentication.
func dialRaw(t testing.TB, srv *sshtest.Server, version, kex string) (*rawClient, error) {
	t.Helper()
	conn := dialTCP(t, srv)
	c := &rawClient{sshtest.NewRaw(conn), conn}
	if err := c.Greet(version); err != nil {
		return nil, err
	}
	if err := c.Keys(kex); err != nil {
		return nil, err
	}
	return c, c.Service("ssh-userauth")
}

// mustDialRaw is dialRaw of a client that fits.
func mustDialRaw(t testing.TB, srv *sshtest.Server, version string) *rawClient {
	t.Helper()
	c, err := dialRaw(t, srv, version, sshtest.Curve25519)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *rawClient) attempt(user, service, method string, rest []byte) (bool, error) {
	return c.Attempt(user, service, method, rest)
}

func (c *rawClient) password(user, password string) (bool, error) { return c.Password(user, password) }

func (c *rawClient) publicKey(user string, key gossh.Signer) (bool, error) {
	return c.PublicKey(user, key)
}

// openShell asks for a session, and for a shell in it.
func (c *rawClient) openShell() error {
	c.write(gossh.Marshal(struct {
		Type                    string `sshtype:"90"`
		Channel, Window, Packet uint32
	}{"session", 0, 1 << 20, 1 << 15}))
	if _, err := c.read(); err != nil {
		return err
	}
	c.write(gossh.Marshal(struct {
		Channel   uint32 `sshtype:"98"`
		Request   string
		WantReply bool
	}{0, "shell", true}))
	_, err := c.read()
	return err
}

// write sends a packet. Whether it arrived is seen by the next read.
func (c *rawClient) write(payload []byte) { _ = c.Write(payload) }

func (c *rawClient) read() ([]byte, error) { return c.Read() }
