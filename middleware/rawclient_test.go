package middleware_test

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

// rawClient says what x/crypto's client would not: any version line, any service and method name, another user with
// each attempt. It speaks curve25519-sha256, ssh-ed25519 and aes128-gcm (RFC 4253, 5647, 8731) and believes the host.
type rawClient struct {
	conn       net.Conn
	in         *bufio.Reader
	seal, open cipher.AEAD // nil until the keys are in use
	sealIV     []byte
	openIV     []byte
	session    []byte // the session identifier
}

const (
	msgDisconnect      = 1
	msgServiceRequest  = 5
	msgKexInit         = 20
	msgNewKeys         = 21
	msgUserauthRequest = 50
	msgUserauthFailure = 51
	msgUserauthSuccess = 52
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

// dialRaw connects with a version line, which lacks its line end, and agrees on keys by the method kex.
func dialRaw(t testing.TB, srv *sshtest.Server, version, kex string) (*rawClient, error) {
	t.Helper()
	conn := dialTCP(t, srv)
	c := &rawClient{conn: conn, in: bufio.NewReader(conn)}
	if err := c.exchangeKeys(version, kex); err != nil {
		return nil, err
	}
	c.write(append([]byte{msgServiceRequest}, gossh.Marshal(struct{ Name string }{"ssh-userauth"})...))
	_, err := c.read()
	return c, err
}

// mustDialRaw is dialRaw of a client that fits.
func mustDialRaw(t testing.TB, srv *sshtest.Server, version string) *rawClient {
	t.Helper()
	c, err := dialRaw(t, srv, version, "curve25519-sha256")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// attempt makes one attempt to authenticate, and reports whether it succeeded. What follows the names is the method's.
func (c *rawClient) attempt(user, service, method string, rest []byte) (bool, error) {
	c.write(append(append([]byte{msgUserauthRequest},
		gossh.Marshal(struct{ User, Service, Method string }{user, service, method})...), rest...))
	for {
		switch answer, err := c.read(); {
		case err != nil:
			return false, err
		case answer[0] == msgDisconnect:
			return false, errors.New("disconnected")
		case answer[0] == msgUserauthSuccess, answer[0] == msgUserauthFailure:
			return answer[0] == msgUserauthSuccess, nil
		}
	}
}

func (c *rawClient) password(user, password string) (bool, error) {
	return c.attempt(user, "ssh-connection", "password", gossh.Marshal(struct {
		Change   bool
		Password string
	}{false, password}))
}

// publicKey shows a key with its proof, without asking first whether it would do.
func (c *rawClient) publicKey(user string, key gossh.Signer) (bool, error) {
	shown := gossh.Marshal(struct {
		Proven         bool
		Algorithm, Key string
	}{true, key.PublicKey().Type(), string(key.PublicKey().Marshal())})
	signature, err := key.Sign(rand.Reader, gossh.Marshal(struct {
		Session               []byte
		Request               byte
		User, Service, Method string
		Shown                 []byte `ssh:"rest"`
	}{c.session, msgUserauthRequest, user, "ssh-connection", "publickey", shown}))
	if err != nil {
		return false, err
	}
	proof := gossh.Marshal(struct{ Signature []byte }{gossh.Marshal(signature)})
	return c.attempt(user, "ssh-connection", "publickey", append(shown, proof...))
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

func (c *rawClient) exchangeKeys(version, kex string) error {
	_, _ = io.WriteString(c.conn, version+"\r\n")
	line, err := c.in.ReadString('\n')
	if err != nil {
		return err
	}
	lists := []string{kex, "ssh-ed25519", "aes128-gcm@openssh.com", "aes128-gcm@openssh.com", "", "", "none", "none", "", ""}
	ours := append([]byte{msgKexInit}, make([]byte, 16)...)
	for _, list := range lists {
		ours = append(ours, gossh.Marshal(struct{ List string }{list})...)
	}
	ours = append(ours, make([]byte, 5)...)
	c.write(ours)
	theirs, err := c.read()
	if err != nil {
		return err
	}
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	c.write(gossh.Marshal(struct {
		Public []byte `sshtype:"30"`
	}{key.PublicKey().Bytes()}))
	answer, err := c.read()
	if err != nil {
		return err
	}
	var reply struct {
		HostKey, Public, Signature []byte `sshtype:"31"`
	}
	if err := gossh.Unmarshal(answer, &reply); err != nil {
		return err
	}
	peer, err := ecdh.X25519().NewPublicKey(reply.Public)
	if err != nil {
		return err
	}
	shared, err := key.ECDH(peer)
	if err != nil {
		return err
	}
	c.write([]byte{msgNewKeys})
	if _, err := c.read(); err != nil {
		return err
	}
	secret := gossh.Marshal(struct{ K *big.Int }{new(big.Int).SetBytes(shared)})
	hash := sha256.Sum256(append(gossh.Marshal(struct {
		VersionC, VersionS        string
		InitC, InitS              []byte
		HostKey, PublicC, PublicS []byte
	}{version, line[:len(line)-2], ours, theirs, reply.HostKey, key.PublicKey().Bytes(), reply.Public}), secret...))
	c.session = hash[:]
	c.useKeys(append(secret, hash[:]...))
	return nil
}

// useKeys derives the keys of RFC 4253 section 7.2.
func (c *rawClient) useKeys(secret []byte) {
	derive := func(letter byte) []byte {
		key := sha256.Sum256(append(append(append([]byte{}, secret...), letter), c.session...))
		return key[:]
	}
	gcm := func(letter byte) cipher.AEAD {
		block, _ := aes.NewCipher(derive(letter)[:16])
		aead, _ := cipher.NewGCM(block)
		return aead
	}
	c.sealIV, c.openIV = derive('A')[:12], derive('B')[:12]
	c.seal, c.open = gcm('C'), gcm('D')
}

// write sends a packet (RFC 4253 section 6). Whether it arrived is seen by the next read.
func (c *rawClient) write(payload []byte) {
	block, counted := 8, 5
	if c.seal != nil {
		block, counted = 16, 1
	}
	padding := 4 + block - (counted+len(payload)+4)%block
	body := append(append([]byte{byte(padding)}, payload...), make([]byte, padding)...)
	packet := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	if c.seal == nil {
		packet = append(packet, body...)
	} else {
		packet = c.seal.Seal(packet, c.sealIV, body, packet[:4])
		countUp(c.sealIV)
	}
	_, _ = c.conn.Write(packet)
}

func (c *rawClient) read() ([]byte, error) {
	length := make([]byte, 4)
	if _, err := io.ReadFull(c.in, length); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(length))
	if c.open != nil {
		size += c.open.Overhead()
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return nil, err
	}
	if c.open != nil {
		var err error
		if body, err = c.open.Open(nil, c.openIV, body, length); err != nil {
			return nil, err
		}
		countUp(c.openIV)
	}
	return body[1 : len(body)-int(body[0])], nil
}

// countUp increments the invocation counter of RFC 5647 section 7.1.
func countUp(iv []byte) {
	binary.BigEndian.PutUint64(iv[4:], binary.BigEndian.Uint64(iv[4:])+1)
}
