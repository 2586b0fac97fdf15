package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"foyer/middleware/sshtest"
)

// attackTime is how long any connection of an attacker lives at most, so that no attack hangs.
const attackTime = 25 * time.Second * slowness

// attacker comes from an address of its own.
type attacker struct {
	testing.TB
	hall    *hall
	network string // "127.9."
	from    string

	sent, connected atomic.Int64
	mu              sync.Mutex
	conns           []net.Conn
	gone            atomic.Bool
	left            chan bool // closed when gone
}

func newAttacker(t testing.TB, h *hall) *attacker {
	a := &attacker{TB: t, hall: h, network: network(), left: make(chan bool)}
	a.from = a.network + "0.1"
	return a
}

// counted is a connection that knows what went out.
type counted struct {
	*net.TCPConn
	sent *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// wireCost is what it takes an attacker to begin and to end a connection: four packets, of 60 and three times 52 bytes
// with TCP's timestamps, and 38 bytes of Ethernet around each.
const wireCost = 60 + 3*52 + 4*38

// spent returns what the attacker has put on the wire.
func (a *attacker) spent() int64 { return a.sent.Load() + wireCost*a.connected.Load() }

// dial connects, and fails the test where not even the kernel answers.
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
	conn, err := dialer.Dial("tcp", "127.0.0.1:"+a.hall.port)
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

// leave closes all connections. None can be made any more.
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

// must fails the test where the door did not play along so far.
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

// met has exchanged version lines.
func (a *attacker) met() *client {
	a.Helper()
	conn := a.dial()
	c := &client{sshtest.NewRaw(conn), a, conn}
	a.must(c.Greet("SSH-2.0-hostile"))
	return c
}

// keyed has exchanged keys too.
func (a *attacker) keyed() *client {
	a.Helper()
	c := a.met()
	a.must(c.Keys(sshtest.Curve25519))
	return c
}

// asked may authenticate.
func (a *attacker) asked() *client {
	a.Helper()
	c := a.keyed()
	a.must(c.Service("ssh-userauth"))
	return c
}

// in is authenticated.
func (a *attacker) in() *client {
	a.Helper()
	c := a.asked()
	in, err := c.PublicKey("guest", a.hall.key)
	if err == nil && !in {
		err = errors.New("the key does not let in")
	}
	a.must(err)
	return c
}

// session has a session open: number 0, unless there are others.
func (a *attacker) session() *client {
	a.Helper()
	c := a.in()
	c.open(0)
	return c
}

// open opens a session, to which this side gives a number. The door has the same numbers while sessions are opened in
// order.
func (c *client) open(number uint32) {
	c.a.Helper()
	c.mustOpen(openSession(number, 1<<20, 1<<15))
}

// mustOpen opens a session as it is asked for.
func (c *client) mustOpen(session []byte) {
	c.a.Helper()
	if !c.opens(session) {
		c.a.Error("a session is refused")
	}
}

// opens asks for a session, and reports whether there is one. Until it knows, what is sent for it is lost.
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

// msg returns a message with its fields (RFC 4251 section 5); a []byte is put there as it is.
func msg(kind byte, fields ...any) []byte {
	packet := []byte{kind}
	for _, field := range fields {
		switch f := field.(type) {
		case bool:
			packet = append(packet, map[bool]byte{true: 1}[f])
		case byte:
			packet = append(packet, f)
		case uint32:
			packet = binary.BigEndian.AppendUint32(packet, f)
		case string:
			packet = append(binary.BigEndian.AppendUint32(packet, uint32(len(f))), f...)
		case []byte:
			packet = append(packet, f...)
		default:
			panic(fmt.Sprintf("a field of type %T", field))
		}
	}
	return packet
}

// send says something, whether or not anybody listens any more.
func (c *client) send(packets ...[]byte) {
	for _, packet := range packets {
		_ = c.Write(packet)
	}
}

// flood sends n packets, or as many as the door takes, while what it answers is thrown away. It reports how many.
func (c *client) flood(n int, packet func(i int) []byte) int {
	go func() { _, _ = io.Copy(io.Discard, c.conn) }()
	for i := range n {
		if c.Write(packet(i)) != nil {
			return i
		}
	}
	return n
}

// same returns the same packet again and again.
func same(packet []byte) func(int) []byte { return func(int) []byte { return packet } }

// drip sends text a byte at a time for as long as the door takes it, and then the last bytes again.
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

// ended waits until the door has hung up, and fails the test where it does not in time.
func (a *attacker) ended(conn net.Conn, limit time.Duration) {
	a.Helper()
	began := time.Now()
	_ = conn.SetReadDeadline(began.Add(limit + visitTime))
	_, err := io.Copy(io.Discard, conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		a.Errorf("after %v the door has not hung up", time.Since(began))
	}
}

// hungUp is ended, and soon.
func (a *attacker) hungUp(conn net.Conn) {
	a.Helper()
	a.ended(conn, 0)
}

// over is ended of a client that floods in another goroutine or not at all.
func (c *client) over(limit time.Duration) {
	c.a.Helper()
	c.a.ended(c.conn, limit)
}
