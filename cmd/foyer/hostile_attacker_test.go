//go:build !windows

package main

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"foyer/middleware/sshtest"
)

// attackTime bounds the life of each connection of an attacker, so that no attack hangs.
const attackTime = 25 * time.Second * slowness

// attacker is a client with a network of its own.
type attacker struct {
	testing.TB
	target  *target
	network string // "127.9."
	from    string

	sent, connected atomic.Int64
	mu              sync.Mutex
	conns           []net.Conn
	gone            atomic.Bool
	left            chan bool // closed when gone
}

func newAttacker(t testing.TB, h *target) *attacker {
	a := &attacker{TB: t, target: h, network: network(), left: make(chan bool)}
	a.from = a.network + "0.1"
	return a
}

// counted is a connection that counts the bytes that are written.
type counted struct {
	*net.TCPConn
	sent *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// wireCost is the cost of a connection to an attacker in bytes: four packets, of 60 and three times 52 bytes with TCP's
// timestamps, each with 38 bytes of Ethernet.
const wireCost = 60 + 3*52 + 4*38

// spent returns the number of bytes that the attacker has sent.
func (a *attacker) spent() int64 { return a.sent.Load() + wireCost*a.connected.Load() }

// dial connects from the attacker's address.
func (a *attacker) dial() counted {
	a.Helper()
	conn, err := a.dialFrom(a.from)
	if err != nil {
		a.Fatal(err)
	}
	return conn
}

// dialFrom connects from an address of loopback.
func (a *attacker) dialFrom(address string) (counted, error) {
	dialer := net.Dialer{Timeout: attackTime, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := dialer.Dial("tcp", "127.0.0.1:"+a.target.port)
	if err != nil {
		return counted{}, err
	}
	_ = conn.SetDeadline(time.Now().Add(attackTime))
	a.connected.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone.Load() {
		_ = conn.Close()
		return counted{}, net.ErrClosed
	}
	a.conns = append(a.conns, conn)
	return counted{conn.(*net.TCPConn), &a.sent}, nil
}

// leave closes all connections, and no more can be made.
func (a *attacker) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.gone.Swap(true) {
		close(a.left)
	}
	for _, conn := range a.conns {
		_ = conn.Close()
	}
	a.conns = nil
}

// must fails the test where the server did not behave as the attack expects.
func (a *attacker) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

// client is a raw client of an attacker.
type client struct {
	*sshtest.Raw
	a    *attacker
	conn counted
}

// greeted returns a client that has exchanged version lines.
func (a *attacker) greeted() *client {
	a.Helper()
	conn := a.dial()
	c := &client{sshtest.NewRaw(conn), a, conn}
	a.must(c.Greet("SSH-2.0-hostile"))
	return c
}

// keyed returns a client that has exchanged keys.
func (a *attacker) keyed() *client {
	a.Helper()
	c := a.greeted()
	a.must(c.Keys(sshtest.Curve25519))
	return c
}

// handshaken returns a client that may authenticate.
func (a *attacker) handshaken() *client {
	a.Helper()
	c := a.keyed()
	a.must(c.Service("ssh-userauth"))
	return c
}

// authenticated returns a client that is authenticated.
func (a *attacker) authenticated() *client {
	a.Helper()
	c := a.handshaken()
	in, err := c.PublicKey("guest", a.target.key)
	if err == nil && !in {
		err = errors.New("the key is not accepted")
	}
	a.must(err)
	return c
}

// session returns a client with an open session, number 0.
func (a *attacker) session() *client {
	a.Helper()
	c := a.authenticated()
	c.open(0)
	return c
}

// open opens a session with the client's number. The server uses the same numbers while sessions are opened in order.
func (c *client) open(number uint32) {
	c.a.Helper()
	c.mustOpen(openSession(number, 1<<20, 1<<15))
}

// mustOpen opens a session with this message.
func (c *client) mustOpen(session []byte) {
	c.a.Helper()
	if !c.opens(session) {
		c.a.Error("a session is refused")
	}
}

// opens opens a session with this message, and reports whether the server accepts it. It waits for the reply, since data
// that is sent earlier is lost.
func (c *client) opens(session []byte) bool {
	c.a.Helper()
	c.a.must(c.Write(session))
	answer, err := c.Await(sshtest.MsgChannelConfirmed, sshtest.MsgChannelRefused)
	c.a.must(err)
	return err == nil && answer[0] == sshtest.MsgChannelConfirmed
}

func openSession(number, window, packet uint32) []byte {
	return msg(sshtest.MsgChannelOpen, "session", number, window, packet)
}

// request returns a channel request.
func request(channel uint32, name string, reply bool, fields ...any) []byte {
	return msg(sshtest.MsgChannelRequest, append([]any{channel, name, reply}, fields...)...)
}

// msg is short for [sshtest.Message].
func msg(number byte, fields ...any) []byte { return sshtest.Message(number, fields...) }

// send sends packets, also where the server has disconnected.
func (c *client) send(packets ...[]byte) {
	for _, packet := range packets {
		_ = c.Write(packet)
	}
}

// flood sends n packets, or as many as the server takes, and discards the replies. It returns the number.
func (c *client) flood(n int, packet func(i int) []byte) int {
	go func() { _, _ = io.Copy(io.Discard, c.conn) }()
	for i := range n {
		if c.Write(packet(i)) != nil {
			return i
		}
	}
	return n
}

// same returns a function that always returns the same packet.
func same(packet []byte) func(int) []byte { return func(int) []byte { return packet } }

// drip sends text byte by byte, and then its last byte, until the server disconnects.
func (a *attacker) drip(conn net.Conn, text string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		if _, err := conn.Write([]byte{text[min(i, len(text)-1)]}); err != nil {
			return
		}
		<-tick.C
	}
}

// awaitClose waits until the server disconnects. The test fails where it does not do so within the limit.
func (a *attacker) awaitClose(conn net.Conn, limit time.Duration) {
	a.Helper()
	began := time.Now()
	_ = conn.SetReadDeadline(began.Add(limit + visitTime))
	_, err := io.Copy(io.Discard, conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		a.Errorf("not disconnected after %v", time.Since(began))
	}
}

// awaitClose is ended of a client that floods in another goroutine or not at all.
func (c *client) awaitClose(limit time.Duration) {
	c.a.Helper()
	c.a.awaitClose(c.conn, limit)
}
