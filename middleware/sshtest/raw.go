package sshtest

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// Message numbers (RFC 4250 section 4.1.2).
const (
	MsgDisconnect       = 1
	MsgIgnore           = 2
	MsgUnimplemented    = 3
	MsgDebug            = 4
	MsgServiceRequest   = 5
	MsgServiceAccept    = 6
	MsgExtInfo          = 7
	MsgKexInit          = 20
	MsgNewKeys          = 21
	MsgKexECDHInit      = 30
	MsgKexECDHReply     = 31
	MsgUserauthRequest  = 50
	MsgUserauthFailure  = 51
	MsgUserauthSuccess  = 52
	MsgUserauthBanner   = 53
	MsgUserauthPKOK     = 60
	MsgGlobalRequest    = 80
	MsgChannelOpen      = 90
	MsgChannelConfirmed = 91
	MsgChannelRefused   = 92
	MsgWindowAdjust     = 93
	MsgChannelData      = 94
	MsgExtendedData     = 95
	MsgChannelEOF       = 96
	MsgChannelClose     = 97
	MsgChannelRequest   = 98
	MsgChannelSuccess   = 99
	MsgChannelFailure   = 100
	MsgPing             = 192 // OpenSSH's PROTOCOL, section 1.9
)

// The key exchanges that a [Raw] client supports.
const (
	Curve25519 = "curve25519-sha256"     // RFC 8731
	MLKEM      = "mlkem768x25519-sha256" // draft-ietf-sshm-mlkem-hybrid-kex
)

// Raw is a client that can break the protocol, unlike x/crypto's: it sends any version line, any bytes before and any
// packet after the key exchange, and a different user with each attempt. It supports ssh-ed25519 and aes128-gcm (RFC
// 5647) and does not verify the host key.
//
// One goroutine may read and another one may write at the same time, except during a key exchange.
type Raw struct {
	Conn    net.Conn
	Session []byte // the session identifier, after the first key exchange
	Strict  bool   // request the strict key exchange (OpenSSH's PROTOCOL, section 1.10)

	in             *bufio.Reader
	client, server string      // the version lines
	sealing        cipher.AEAD // nil before the first key exchange
	opening        cipher.AEAD
	sealIV, openIV []byte
}

// NewRaw returns a client that has not sent anything yet.
func NewRaw(conn net.Conn) *Raw {
	return &Raw{Conn: conn, in: bufio.NewReader(conn)}
}

// Greet sends a version line, given without its line end, and reads the server's.
func (c *Raw) Greet(version string) error {
	if _, err := io.WriteString(c.Conn, version+"\r\n"); err != nil {
		return err
	}
	line, err := c.in.ReadString('\n')
	c.client, c.server = version, strings.TrimRight(line, "\r\n")
	return err
}

// Handshake exchanges version lines, exchanges keys by the method kex, and starts the authentication.
func (c *Raw) Handshake(version, kex string) error {
	if err := c.Greet(version); err != nil {
		return err
	}
	if err := c.Keys(kex); err != nil {
		return err
	}
	return c.Service("ssh-userauth")
}

// Init returns a KEXINIT with the algorithms of this client, and kex as the list of key exchanges.
func Init(kex string) []byte {
	const aead = "aes128-gcm@openssh.com"
	return InitOf(kex, gossh.KeyAlgoED25519, aead, aead, "", "", "none", "none", "", "")
}

// InitOf returns a KEXINIT with these ten lists (RFC 4253 section 7.1).
func InitOf(lists ...string) []byte {
	packet := append([]byte{MsgKexInit}, make([]byte, 16)...)
	for _, list := range lists {
		packet = append(packet, gossh.Marshal(struct{ List string }{list})...)
	}
	return append(packet, make([]byte, 5)...)
}

// Keys does a key exchange with the method kex: the first one, or another one.
func (c *Raw) Keys(kex string) error {
	ours := Init(kex)
	if c.Strict {
		ours = Init(kex + ",kex-strict-c-v00@openssh.com")
	}
	if err := c.Write(ours); err != nil {
		return err
	}
	theirs, err := c.Await(MsgKexInit)
	if err != nil {
		return err
	}
	share, err := newShare(kex)
	if err != nil {
		return err
	}
	if err := c.Write(gossh.Marshal(struct {
		Public []byte `sshtype:"30"`
	}{share.public})); err != nil {
		return err
	}
	return c.finish(ours, theirs, share)
}

// finish reads the server's key share and uses the keys derived from it. It does not verify the server's signature.
func (c *Raw) finish(ours, theirs []byte, share *share) error {
	answer, err := c.Await(MsgKexECDHReply)
	if err != nil {
		return err
	}
	var reply struct {
		HostKey, Public, Signature []byte `sshtype:"31"`
	}
	if err := gossh.Unmarshal(answer, &reply); err != nil {
		return err
	}
	secret, err := share.secret(reply.Public)
	if err != nil {
		return err
	}
	if err := c.Write([]byte{MsgNewKeys}); err != nil {
		return err
	}
	if _, err := c.Await(MsgNewKeys); err != nil {
		return err
	}
	hash := sha256.Sum256(append(gossh.Marshal(struct {
		VersionC, VersionS        string
		InitC, InitS              []byte
		HostKey, PublicC, PublicS []byte
	}{c.client, c.server, ours, theirs, reply.HostKey, share.public, reply.Public}), secret...))
	if c.Session == nil {
		c.Session = hash[:]
	}
	return c.useKeys(append(secret, hash[:]...))
}

// useKeys derives the keys (RFC 4253 section 7.2).
func (c *Raw) useKeys(secret []byte) (err error) {
	derive := func(letter byte) []byte {
		key := sha256.Sum256(slices.Concat(secret, []byte{letter}, c.Session))
		return key[:]
	}
	c.sealIV, c.openIV = derive('A')[:12], derive('B')[:12]
	if c.sealing, err = gcm(derive('C')[:16]); err != nil {
		return err
	}
	c.opening, err = gcm(derive('D')[:16])
	return err
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Service requests a service, and returns when it is granted.
func (c *Raw) Service(name string) error {
	if err := c.Write(Message(MsgServiceRequest, name)); err != nil {
		return err
	}
	_, err := c.Await(MsgServiceAccept)
	return err
}

// Attempt makes one attempt to authenticate, and reports whether it succeeded. rest holds the fields of the method.
func (c *Raw) Attempt(user, service, method string, rest []byte) (bool, error) {
	if err := c.Write(Message(MsgUserauthRequest, user, service, method, rest)); err != nil {
		return false, err
	}
	answer, err := c.Await(MsgUserauthSuccess, MsgUserauthFailure)
	return err == nil && answer[0] == MsgUserauthSuccess, err
}

// Password attempts to authenticate with a password.
func (c *Raw) Password(user, password string) (bool, error) {
	return c.Attempt(user, "ssh-connection", "password", Fields(false, password))
}

// PublicKey attempts to authenticate with a key. It does not query first whether the server accepts it.
func (c *Raw) PublicKey(user string, key gossh.Signer) (bool, error) {
	shown := Fields(true, key.PublicKey().Type(), string(key.PublicKey().Marshal()))
	signature, err := key.Sign(rand.Reader, Fields(
		string(c.Session), byte(MsgUserauthRequest), user, "ssh-connection", "publickey", shown))
	if err != nil {
		return false, err
	}
	return c.Attempt(user, "ssh-connection", "publickey", Fields(shown, string(gossh.Marshal(signature))))
}

// Query asks whether the server accepts a key, and reports the answer (RFC 4252 section 7).
func (c *Raw) Query(user string, key gossh.PublicKey) (bool, error) {
	if err := c.Write(Message(MsgUserauthRequest,
		user, "ssh-connection", "publickey", false, key.Type(), string(key.Marshal()))); err != nil {
		return false, err
	}
	answer, err := c.Await(MsgUserauthPKOK, MsgUserauthFailure)
	return err == nil && answer[0] == MsgUserauthPKOK, err
}

// Shell opens a session, which is channel 0 on both sides where it is the first, and requests a shell.
func (c *Raw) Shell() error { return c.request("shell") }

// Command is Shell for a command.
func (c *Raw) Command(command string) error { return c.request("exec", command) }

func (c *Raw) request(kind string, fields ...any) error {
	if err := c.Write(OpenChannel("session", 0)); err != nil {
		return err
	}
	if _, err := c.Await(MsgChannelConfirmed); err != nil {
		return err
	}
	if err := c.Write(Message(MsgChannelRequest, append([]any{uint32(0), kind, true}, fields...)...)); err != nil {
		return err
	}
	_, err := c.Await(MsgChannelSuccess)
	return err
}

// OpenChannel returns the message that opens a channel with a window of 1 MiB and packets of 32 KiB.
func OpenChannel(channelType string, id uint32, fields ...any) []byte {
	return Message(MsgChannelOpen, append([]any{channelType, id, uint32(1 << 20), uint32(1 << 15)}, fields...)...)
}

// Message returns a message with its number and its [Fields].
func Message(number byte, fields ...any) []byte { return append([]byte{number}, Fields(fields...)...) }

// Fields returns fields as they are encoded (RFC 4251 section 5): bool, byte, uint32, string, or []byte, which is
// appended as it is.
func Fields(fields ...any) (encoded []byte) {
	for _, field := range fields {
		switch f := field.(type) {
		case bool:
			encoded = append(encoded, map[bool]byte{true: 1}[f])
		case byte:
			encoded = append(encoded, f)
		case uint32:
			encoded = binary.BigEndian.AppendUint32(encoded, f)
		case string:
			encoded = append(binary.BigEndian.AppendUint32(encoded, uint32(len(f))), f...)
		case []byte:
			encoded = append(encoded, f...)
		default:
			panic(fmt.Sprintf("a field of type %T", field))
		}
	}
	return encoded
}

// Unencrypted returns a message as a packet without encryption.
func Unencrypted(message []byte) []byte {
	return (&Raw{}).packet(message)
}

// Write sends a packet (RFC 4253 section 6).
func (c *Raw) Write(payload []byte) error {
	_, err := c.Conn.Write(c.packet(payload))
	return err
}

func (c *Raw) packet(payload []byte) []byte {
	block, counted := 8, 5
	if c.sealing != nil {
		block, counted = 16, 1
	}
	padding := 4 + block - (counted+len(payload)+4)%block
	body := slices.Concat([]byte{byte(padding)}, payload, make([]byte, padding))
	packet := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	if c.sealing == nil {
		return append(packet, body...)
	}
	packet = c.sealing.Seal(packet, c.sealIV, body, packet[:4])
	countUp(c.sealIV)
	return packet
}

// Read returns the next packet's payload.
func (c *Raw) Read() ([]byte, error) {
	length := make([]byte, 4)
	if _, err := io.ReadFull(c.in, length); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(length))
	if size > 1<<20 {
		return nil, fmt.Errorf("packet of %d bytes", size)
	}
	if c.opening != nil {
		size += c.opening.Overhead()
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return nil, err
	}
	if c.opening != nil {
		var err error
		if body, err = c.opening.Open(nil, c.openIV, body, length); err != nil {
			return nil, err
		}
		countUp(c.openIV)
	}
	if len(body) < 2 || int(body[0]) >= len(body)-1 {
		return nil, errors.New("packet without a message")
	}
	return body[1 : len(body)-int(body[0])], nil
}

// Disconnected is the error of [Raw.Await] if the server has sent an SSH_MSG_DISCONNECT.
type Disconnected struct {
	Reason  uint32 // RFC 4253 section 11.1
	Message string
}

func (d *Disconnected) Error() string {
	return fmt.Sprintf("disconnected: %s (%d)", d.Message, d.Reason)
}

// Await reads packets until a message of one of these types arrives, and returns it. It skips the others.
func (c *Raw) Await(types ...byte) ([]byte, error) {
	for {
		packet, err := c.Read()
		switch {
		case err != nil:
			return nil, err
		case slices.Contains(types, packet[0]):
			return packet, nil
		case packet[0] == MsgDisconnect:
			var msg struct {
				Reason            uint32 `sshtype:"1"`
				Message, Language string
			}
			_ = gossh.Unmarshal(packet, &msg)
			return nil, &Disconnected{msg.Reason, msg.Message}
		}
	}
}

// countUp increments the invocation counter of RFC 5647 section 7.1.
func countUp(iv []byte) {
	binary.BigEndian.PutUint64(iv[4:], binary.BigEndian.Uint64(iv[4:])+1)
}

// share is the client's key share in a key exchange.
type share struct {
	public  []byte
	lattice *mlkem.DecapsulationKey768 // nil without MLKEM
	curve   *ecdh.PrivateKey
}

func newShare(kex string) (*share, error) {
	curve, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	s := &share{public: curve.PublicKey().Bytes(), curve: curve}
	if kex != MLKEM {
		return s, nil
	}
	if s.lattice, err = mlkem.GenerateKey768(); err != nil {
		return nil, err
	}
	s.public = append(s.lattice.EncapsulationKey().Bytes(), s.public...)
	return s, nil
}

// secret returns the shared secret in the encoding for the exchange hash: an mpint with a curve, a string with MLKEM.
func (s *share) secret(theirs []byte) ([]byte, error) {
	ciphertext := theirs[:max(0, len(theirs)-32)]
	peer, err := ecdh.X25519().NewPublicKey(theirs[len(ciphertext):])
	if err != nil {
		return nil, err
	}
	shared, err := s.curve.ECDH(peer)
	if err != nil || s.lattice == nil {
		return gossh.Marshal(struct{ K *big.Int }{new(big.Int).SetBytes(shared)}), err
	}
	lattice, err := s.lattice.Decapsulate(ciphertext)
	if err != nil {
		return nil, err
	}
	both := sha256.Sum256(append(lattice, shared...))
	return gossh.Marshal(struct{ K []byte }{both[:]}), nil
}
