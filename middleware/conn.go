package middleware

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/passwords"
	"foyer/middleware/eventlog"
	"foyer/middleware/transport"
)

// Stage is how far a connection has come.
type Stage int

// A connection goes through the stages in this order, and may skip some.
const (
	Connected     Stage = iota // it is accepted
	Speaking                   // the client has sent its first bytes
	KeysExchanged              // the server has sent its SSH_MSG_NEWKEYS
	Authenticated              // the client has proven who it is
	Closed
)

// Conn is one connection, from when it is accepted until it is closed, and all that is known about it. Layers get it in
// Connect; [ConnOf] returns it in a session.
type Conn struct {
	*transport.Conn
	context  ssh.Context
	stack    *Stack
	accepted time.Time
	moments  []Moments // of the layers that have let it in, in the order of the list
	log      *eventlog.Connection
	packets  unreadPackets

	sentence   func(ssh.Session, string) (text string, found bool) // in place of a fixed one; may be nil
	forwarding atomic.Bool                                         // the client has asked for a port of the server's

	// The handshake's goroutine's.
	attempts      int          // to authenticate
	keyAlgorithms []string     // of signatures: x/crypto's own list
	hostKeys      []ssh.Signer // those that the server can prove
	established   gossh.Conn   // that the layers wait for; nil when they have it
	refused       *refusedKey  // the key of the present attempt, if it is refused
	verified      []string     // the methods that have succeeded; sessions read it after the handshake

	mu       sync.Mutex
	stage    Stage
	sessions int
	visited  bool  // it has had a session
	ended    int   // sessions of which only the client's close is missing
	err      error // why nobody was authenticated
}

type connKey struct{}

// ConnOf returns the connection that a context belongs to: a connection's or a session's. It is nil where the server has
// no [Stack].
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

// Context returns the library's context of the connection. It ends with the connection.
func (c *Conn) Context() ssh.Context { return c.context }

// Stage returns how far the connection has come.
func (c *Conn) Stage() Stage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stage
}

// Sessions returns how many sessions are open, including those that are about to be accepted or refused. A session counts
// until the client has confirmed that it is closed.
func (c *Conn) Sessions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions
}

// Idle reports whether the connection has no session, apart from those that the server has ended.
func (c *Conn) Idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions == c.ended
}

// sessionEnded counts the sessions that the server has ended.
func (c *Conn) sessionEnded(n int) {
	c.mu.Lock()
	c.ended += n
	c.mu.Unlock()
	for _, m := range c.moments {
		if m.Ended != nil {
			m.Ended()
		}
	}
}

// Disconnect tells the client why, in a form that ssh shows, and closes the connection. It takes a second at most.
func (c *Conn) Disconnect(reason transport.Reason, text string) {
	wait := shortWait
	select {
	case c.stack.slowDisconnects <- struct{}{}:
		defer func() { <-c.stack.slowDisconnects }()
		wait = longWait
	default: // too many are being disconnected
	}
	c.Conn.Disconnect(reason, text, wait)
}

// disconnectBriefly is Disconnect for a client that is refused or has failed: it has 5 ms to read why. Where too many are
// being disconnected, it is not told.
func (c *Conn) disconnectBriefly(reason transport.Reason, text string) {
	select {
	case c.stack.slowDisconnects <- struct{}{}:
		defer func() { <-c.stack.slowDisconnects }()
		c.Conn.Disconnect(reason, text, shortWait)
	default:
		_ = c.Close()
	}
}

// reach moves the connection to a later stage and tells the layers.
func (c *Conn) reach(stage Stage) {
	c.mu.Lock()
	reached := c.stage < stage
	if reached {
		c.stage = stage
	}
	c.mu.Unlock()
	for _, m := range c.moments {
		if reached && m.Stage != nil {
			m.Stage(stage)
		}
	}
}

// Spoke implements [transport.Observer].
func (c *Conn) Spoke() { c.reach(Speaking) }

// KeysExchanged implements [transport.Observer].
func (c *Conn) KeysExchanged() { c.reach(KeysExchanged) }

// Computing implements [transport.Observer].
func (c *Conn) Computing(on bool) error {
	for _, m := range c.moments {
		if m.Computing == nil {
			continue
		}
		if err := m.Computing(on); err != nil && on {
			_ = c.Computing(false) // other layers may have permitted it
			return err
		}
	}
	return nil
}

// Received implements [transport.Observer].
func (c *Conn) Received(n int) error { return c.work(BytesReceived, n) }

// work tells the layers what the client makes the server do. The first error stops it.
func (c *Conn) work(kind Work, n int) error {
	for _, m := range c.moments {
		if m.Work == nil {
			continue
		}
		if err := m.Work(kind, n); err != nil {
			return err
		}
	}
	return nil
}

// configure returns the configuration of the handshake, as the layers have prepared it.
func (c *Conn) configure(cfg *gossh.ServerConfig) {
	for _, m := range c.moments {
		if m.Configure != nil {
			m.Configure(cfg)
		}
	}
	logged, preAuth := cfg.AuthLogCallback, cfg.PreAuthConnCallback
	cfg.AuthLogCallback = func(meta gossh.ConnMetadata, method string, err error) {
		if logged != nil {
			logged(meta, method, err)
		}
		c.attempt(c.classify(meta, method, err))
	}
	cfg.PreAuthConnCallback = func(meta gossh.ServerPreAuthConn) {
		if preAuth != nil {
			preAuth(meta)
		}
		c.packets, c.keyAlgorithms = unreadPacketsOf(meta), keyAlgorithmsOf(meta)
		if slices.ContainsFunc(c.moments, func(m Moments) bool { return m.Established != nil }) {
			c.established, _ = meta.(gossh.Conn)
		}
		c.AuthStarted(meta.SendAuthBanner)
	}
}

// SetDeadline implements [net.Conn]. charm.land/ssh removes the deadline of the handshake as soon as the handshake is over
// (server.go, handleConn), and without an idle timeout it sets no other from the success of the authentication on.
func (c *Conn) SetDeadline(t time.Time) error {
	err := c.Conn.SetDeadline(t)
	if c.established == nil || c.Stage() != Authenticated {
		return err
	}
	for _, m := range c.moments {
		if m.Established != nil {
			m.Established(c.established)
		}
	}
	c.established = nil
	_ = c.Release()
	return err
}

// Outcome is what became of an attempt to authenticate.
type Outcome int

// The outcomes.
const (
	Succeeded     Outcome = iota // the client is authenticated
	Continues                    // one step of several has succeeded
	Asked                        // method "none": the client asks which methods there are
	KeyRefused                   // a public key that is not accepted, and that the client has only asked about
	NotChecked                   // the server was too busy to look at the password
	AttemptFailed                // anything else
)

// Attempt is one attempt to authenticate.
type Attempt struct {
	gossh.ConnMetadata // who it is that tries, and by which client
	Method             string
	Outcome            Outcome
	Err                error // nil if Succeeded or Continues; may quote the client
}

// classify decides once what an attempt was.
func (c *Conn) classify(meta gossh.ConnMetadata, method string, err error) Attempt {
	a := Attempt{ConnMetadata: meta, Method: method, Err: err}
	var partial *gossh.PartialSuccessError
	switch {
	case err == nil:
		a.Outcome = Succeeded
	case errors.As(err, &partial):
		a.Outcome, a.Err = Continues, nil
	case method == "none" && errors.Is(err, gossh.ErrNoAuth):
		a.Outcome = Asked
	case errors.Is(err, passwords.ErrBusy):
		a.Outcome = NotChecked
	case method == "publickey":
		a.Outcome, a.Err = c.keyOutcome(err)
	default:
		a.Outcome = AttemptFailed
	}
	return a
}

// attempt tells the layers of an attempt.
func (c *Conn) attempt(a Attempt) {
	c.attempts++
	if a.Outcome == Succeeded || a.Outcome == Continues {
		c.verified = append(c.verified, a.Method)
	}
	if a.Outcome == Succeeded {
		c.LimitDeadline(time.Time{})
		if c.established != nil {
			c.Hold()
		}
		c.reach(Authenticated)
	}
	for _, m := range c.moments {
		if m.Attempt != nil {
			m.Attempt(a)
		}
	}
}

// open counts a channel and asks the layers whether it may be opened. Whether or not it may, the caller calls leave when
// it is over.
func (c *Conn) open(channel gossh.NewChannel) error {
	sessions, first := c.countSession(channel.ChannelType())
	if !c.stack.admits(first) {
		return errClosing
	}
	for _, m := range c.moments {
		if m.Open == nil {
			continue
		}
		if err := m.Open(channel, sessions); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) countSession(channelType string) (sessions int, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if channelType == "session" {
		c.sessions++
		first, c.visited = !c.visited, true
	}
	return c.sessions, first
}

// left reports whether the connection has had a session, and has none any more.
func (c *Conn) left() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.visited && c.sessions == 0
}

// leave counts a channel that is over.
func (c *Conn) leave(channelType string) {
	c.mu.Lock()
	if channelType == "session" {
		c.sessions--
	}
	c.mu.Unlock()
	for _, m := range c.moments {
		if m.Left != nil {
			m.Left(channelType)
		}
	}
	if c.left() && c.stack.isDraining() {
		_ = c.Close()
	}
}

// permitsTerminal asks the layers whether a session may have a terminal.
func (c *Conn) permitsTerminal(pty ssh.Pty) bool {
	return !slices.ContainsFunc(c.moments, func(m Moments) bool { return m.Terminal != nil && !m.Terminal(pty) })
}

// errClosedEarly is why a connection ended before the library said anything of it: a layer refused it, or panicked.
var errClosedEarly = errors.New("closed before the handshake was over")

// over tells the layers that the connection is closed, the innermost first, even where one of them panics.
func (c *Conn) over() {
	c.mu.Lock()
	before := c.stage
	c.stage = Closed
	err := c.err
	c.mu.Unlock()
	if before == Closed {
		return
	}
	switch {
	case before == Authenticated:
		err = nil
	case err == nil:
		err = errClosedEarly
	}
	defer c.stack.remove(c)
	defer c.packets.discard()
	c.closed(len(c.moments), err)
}

func (c *Conn) closed(n int, err error) {
	if n == 0 {
		return
	}
	defer c.closed(n-1, err)
	if closed := c.moments[n-1].Closed; closed != nil {
		closed(err)
	}
}

// hostKey is a host key that tells a connection's layers before it signs: once for each key exchange (RFC 4253 section 8).
// The server holds the keys of its newest connection, and with them no more than a weak reference to that.
type hostKey struct {
	gossh.Signer
	conn weak.Pointer[Conn]
}

// Algorithms implements [gossh.MultiAlgorithmSigner].
func (k hostKey) Algorithms() []string { return signsWith(k.Signer) }

// Sign implements [gossh.Signer].
func (k hostKey) Sign(random io.Reader, data []byte) (*gossh.Signature, error) {
	return k.count(func() (*gossh.Signature, error) { return k.Signer.Sign(random, data) })
}

// SignWithAlgorithm implements [gossh.AlgorithmSigner].
func (k hostKey) SignWithAlgorithm(random io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	signer, ok := k.Signer.(gossh.AlgorithmSigner)
	if !ok {
		return k.Sign(random, data) // it has one algorithm
	}
	return k.count(func() (*gossh.Signature, error) { return signer.SignWithAlgorithm(random, data, algorithm) })
}

func (k hostKey) count(sign func() (*gossh.Signature, error)) (*gossh.Signature, error) {
	conn := k.conn.Value()
	if conn == nil {
		return nil, net.ErrClosed
	}
	if err := conn.work(KeyExchange, 1); err != nil {
		return nil, err
	}
	return sign()
}

// channel is a channel that was asked for. It tells the connection's layers what is read from it.
type channel struct {
	gossh.NewChannel
	conn *Conn
}

// Accept implements [gossh.NewChannel].
func (c channel) Accept() (gossh.Channel, <-chan *gossh.Request, error) {
	accepted, requests, err := c.NewChannel.Accept()
	if err != nil {
		return nil, nil, err
	}
	return acceptedChannel{accepted, c.conn}, requests, nil
}

type acceptedChannel struct {
	gossh.Channel
	conn *Conn
}

// Read implements [gossh.Channel].
func (c acceptedChannel) Read(p []byte) (int, error) {
	n, err := c.Channel.Read(p)
	_ = c.conn.work(BytesRead, n)
	return n, err
}

// Stderr implements [gossh.Channel].
func (c acceptedChannel) Stderr() io.ReadWriter { return stderr{c.Channel.Stderr(), c.conn} }

type stderr struct {
	io.ReadWriter
	conn *Conn
}

func (s stderr) Read(p []byte) (int, error) {
	n, err := s.ReadWriter.Read(p)
	_ = s.conn.work(BytesRead, n)
	return n, err
}
