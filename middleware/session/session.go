package session

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/eventlog/sanitize"
)

// PTY is whether a session requested a PTY, and the answer.
type PTY int

// The client requests a PTY before its shell or command. A session whose PTY is refused goes on without one.
const (
	NotAsked PTY = iota
	Refused
	Granted
)

// String returns the word that the log uses.
func (p PTY) String() string {
	return [...]string{"none", "refused", "granted"}[p]
}

// Session is one session of a visitor. It implements [ssh.Session].
type Session struct {
	gossh.Channel
	srv    *ssh.Server
	conn   *gossh.ServerConn
	counts *counters.Counters
	clock  clock
	opened atomic.Bool // Channel and ctx are set
	ctx    sessionContext
	cancel context.CancelFunc

	hold    func(ssh.Context) (release func() error) // may be nil, as release may
	release atomic.Pointer[func() error]
	told    func(ssh.Context, int) // see Channels.Ended

	// Written by the request loop only, and not after the handler has started.
	request, command, subsystem string
	truncated                   bool // command or subsystem
	forwarding                  bool
	environ                     []string
	environBytes                int
	resized                     chan ssh.Window
	next                        ssh.Handler // started after the request is answered

	handlerDone chan struct{} // closed when the handler has returned
	started     atomic.Bool   // the handler was started
	grace       atomic.Bool   // the server ends the session, and the handler may still write
	signals     relay[ssh.Signal]
	breaks      relay[bool]
	stdin       input
	stdout      stream
	stderr      stream
	stderrIn    input // no client sends to it, but ssh.Session can read it
	eof         bool  // EOF was sent; guarded by the locks of stdout and stderr

	mu       sync.Mutex
	pty      PTY
	terminal ssh.Pty
	status   int
	exited   bool
	ended    bool // told was called with 1
	over     bool
	err      error
}

var _ ssh.Session = (*Session)(nil)

// accept accepts the session's channel.
func (s *Session) accept(newChannel gossh.NewChannel, connCtx ssh.Context) (<-chan *gossh.Request, error) {
	s.clock.begin(sendingReply)
	defer s.clock.done(sendingReply)
	channel, requests, err := newChannel.Accept()
	if err != nil {
		return nil, err
	}
	stderr := channel.Stderr()
	s.Channel = channel
	s.cancel = s.ctx.init(connCtx, s)
	s.stdin.from, s.stderrIn.from = channel, stderr
	s.stdout = stream{sess: s, to: channel, what: sendingStdout}
	s.stderr = stream{sess: s, to: stderr, what: sendingStderr}
	s.opened.Store(true)
	return requests, nil
}

// run serves the session with the handler and ends it.
func (s *Session) run(handler ssh.Handler) {
	defer close(s.handlerDone)
	defer func() { _ = s.Exit(1) }() // after a panic; otherwise the session has exited already
	defer logPanic()
	handler(s)
	_ = s.Exit(0) // an error if the handler has called Exit
}

// logPanic is deferred around code of other packages. It stops a panic that no layer has recovered and logs the stack.
func logPanic() {
	if r := recover(); r != nil {
		slog.Error("panic in session", "err", sanitize.String(fmt.Sprint(r), 256), "stack", string(debug.Stack()))
	}
}

// Read reads the visitor's stdin.
func (s *Session) Read(p []byte) (int, error) { return s.stdin.Read(p) }

// Write writes to the visitor's stdout.
func (s *Session) Write(p []byte) (int, error) { return s.stdout.Write(p) }

// CloseWrite sends EOF: nothing more is written to stdout or stderr.
func (s *Session) CloseWrite() error {
	s.stdout.mu.Lock()
	defer s.stdout.mu.Unlock()
	s.stderr.mu.Lock()
	defer s.stderr.mu.Unlock()
	s.clock.begin(sendingStdout)
	defer s.clock.done(sendingStdout)
	return s.endOutput()
}

// endOutput sends EOF, once. The caller holds the locks of both streams, because x/crypto's CloseWrite is not safe for
// concurrent use.
func (s *Session) endOutput() error {
	if s.eof {
		return nil
	}
	s.eof = true
	return s.Channel.CloseWrite()
}

// Stderr reads and writes the visitor's stderr.
func (s *Session) Stderr() io.ReadWriter {
	return struct {
		io.Reader
		io.Writer
	}{&s.stderrIn, &s.stderr}
}

// User returns the name that authentication verified.
func (s *Session) User() string { return s.conn.User() }

// RemoteAddr returns the client's address.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// LocalAddr returns the server's address.
func (s *Session) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// Environ returns the environment variables that the client sent, as "name=value".
func (s *Session) Environ() []string { return slices.Clone(s.environ) }

// Command returns the words of RawCommand. If there are none, because the command is empty or ends inside a quote, it
// returns the whole command as one word: handlers that do not use [InfoOf] take an empty list for a shell.
func (s *Session) Command() []string {
	list := splitWords(s.command)
	if len(list) == 0 && s.request == "exec" {
		return []string{s.command}
	}
	return list
}

// RawCommand returns the command of an exec request, unchanged.
func (s *Session) RawCommand() string { return s.command }

// Subsystem returns the name in a subsystem request.
func (s *Session) Subsystem() string { return s.subsystem }

// PublicKey returns the key with which the visitor authenticated, or nil.
func (s *Session) PublicKey() ssh.PublicKey {
	key, _ := s.ctx.Value(ssh.ContextKeyPublicKey).(ssh.PublicKey)
	return key
}

// Context returns the session's context. It ends with the session or its connection. Values that are set in it are
// visible in this session only; it also returns the values of the connection's context.
func (s *Session) Context() ssh.Context { return &s.ctx }

// Permissions returns what the authentication method has granted. It is never nil.
func (s *Session) Permissions() ssh.Permissions {
	granted := *s.ctx.Permissions()
	if granted.Permissions == nil {
		granted.Permissions = &gossh.Permissions{}
	}
	return granted
}

// EmulatedPty reports whether a PTY was granted. foyer never allocates a real one.
func (s *Session) EmulatedPty() bool { return s.ptyState() == Granted }

// Pty returns the terminal, a channel of sizes, and whether a PTY was granted. The channel holds the first size and
// then the newest one after each change. It is closed when the session ends.
func (s *Session) Pty() (ssh.Pty, <-chan ssh.Window, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pty != Granted {
		return ssh.Pty{}, nil, false
	}
	return s.terminal, s.resized, true
}

// Signals delivers the client's signals to c until it is called again; nil stops the delivery. Signals that nobody has
// received are pending, once for each kind, as in POSIX.
func (s *Session) Signals(c chan<- ssh.Signal) { s.signals.listen(&s.ctx, c) }

// Break delivers the client's breaks to c until it is called again. With nil, and before the first call, the server
// refuses them.
func (s *Session) Break(c chan<- bool) { s.breaks.listen(&s.ctx, c) }

func (s *Session) ptyState() PTY {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pty
}
