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

// PTY says what became of a session's wish for a terminal.
type PTY int

// A session asks for a PTY before its shell, or does not; one that was refused goes on without.
const (
	NotAsked PTY = iota
	Refused
	Granted
)

// String returns the word that the log uses.
func (p PTY) String() string {
	return [...]string{"none", "refused", "granted"}[p]
}

// Session is one session of one visitor; see [ssh.Session] for what its methods promise to a handler.
type Session struct {
	gossh.Channel
	srv    *ssh.Server
	conn   *gossh.ServerConn
	counts *counters.Counters
	clock  clock
	opened atomic.Bool // there is a channel, and a context
	ctx    sessionContext
	cancel context.CancelFunc

	// The request loop's: written before the handler starts, and never after.
	request, command, subsystem string
	environ                     []string
	environBytes                int
	resized                     chan ssh.Window
	next                        ssh.Handler // to be started, once the request is answered

	handled  chan struct{} // closed when the handler is done
	begun    atomic.Bool   // the handler was started
	grace    atomic.Bool   // the session was given up, and the handler may still write
	signals  relay[ssh.Signal]
	breaks   relay[bool]
	stdin    input
	stdout   stream
	stderr   stream
	stderrIn input // no client sends any, and ssh.Session has it
	eof      bool  // the end of both was sent; guarded as they are

	mu       sync.Mutex
	pty      PTY
	terminal ssh.Pty
	status   int
	exited   bool
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
	s.cancel = s.ctx.begin(connCtx, s)
	s.stdin.from, s.stderrIn.from = channel, stderr
	s.stdout = stream{sess: s, to: channel, what: sendingStdout}
	s.stderr = stream{sess: s, to: stderr, what: sendingStderr}
	s.opened.Store(true)
	return requests, nil
}

// run serves the session with the handler that its request asked for, and ends it.
func (s *Session) run(handler ssh.Handler) {
	defer close(s.handled)
	defer func() { _ = s.Exit(1) }() // an error where the session has ended as it should
	defer rescue()
	handler(s)
	_ = s.Exit(0) // an error where the handler has said so itself
}

// rescue is deferred around code that is not this package's. A panic that no layer caught ends there, and the log
// has its stack.
func rescue() {
	if r := recover(); r != nil {
		slog.Error("panic in session", "err", sanitize.String(fmt.Sprint(r), 256), "stack", string(debug.Stack()))
	}
}

// Read reads the visitor's stdin.
func (s *Session) Read(p []byte) (int, error) { return s.stdin.Read(p) }

// Write writes to the visitor's stdout.
func (s *Session) Write(p []byte) (int, error) { return s.stdout.Write(p) }

// CloseWrite says that nothing more is written to stdout or stderr.
func (s *Session) CloseWrite() error {
	s.stdout.mu.Lock()
	defer s.stdout.mu.Unlock()
	s.stderr.mu.Lock()
	defer s.stderr.mu.Unlock()
	s.clock.begin(sendingStdout)
	defer s.clock.done(sendingStdout)
	return s.endOutput()
}

// endOutput sends EOF, once. The caller holds both streams: x/crypto's note of it is not made for several goroutines.
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

// Environ returns what the client asked to have set, as "name=value".
func (s *Session) Environ() []string { return slices.Clone(s.environ) }

// Command returns the words of RawCommand. A command that has none, since it is empty or ends inside a quote, is one
// word as it came: for a handler that knows nothing of [InfoOf], no words mean a shell.
func (s *Session) Command() []string {
	list := words(s.command)
	if len(list) == 0 && s.request == "exec" {
		return []string{s.command}
	}
	return list
}

// RawCommand returns the command of an exec request as it came.
func (s *Session) RawCommand() string { return s.command }

// Subsystem returns the name that a subsystem request asked for.
func (s *Session) Subsystem() string { return s.subsystem }

// PublicKey returns the key that the visitor proved to hold, or nil.
func (s *Session) PublicKey() ssh.PublicKey {
	key, _ := s.ctx.Value(ssh.ContextKeyPublicKey).(ssh.PublicKey)
	return key
}

// Context returns the session's context. It ends with the session or its connection. Values set in it are the
// session's own; the connection's can be read through it.
func (s *Session) Context() ssh.Context { return &s.ctx }

// Permissions returns what the method that let the visitor in has granted, be it nothing.
func (s *Session) Permissions() ssh.Permissions {
	granted := *s.ctx.Permissions()
	if granted.Permissions == nil {
		granted.Permissions = &gossh.Permissions{}
	}
	return granted
}

// EmulatedPty reports whether a PTY was granted: foyer has no real ones to give.
func (s *Session) EmulatedPty() bool { return s.ptyState() == Granted }

// Pty returns the terminal, a channel that holds the newest size after each change (the first one to begin with,
// closed with the session), and whether a PTY was granted.
func (s *Session) Pty() (ssh.Pty, <-chan ssh.Window, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pty != Granted {
		return ssh.Pty{}, nil, false
	}
	return s.terminal, s.resized, true
}

// Signals delivers the client's signals to c until called again; with nil to nobody. Signals that nobody has taken
// wait, each kind once, as in POSIX.
func (s *Session) Signals(c chan<- ssh.Signal) { s.signals.listen(&s.ctx, c) }

// Break delivers the client's breaks to c until called again. With nil, and before the first call, they are refused.
func (s *Session) Break(c chan<- bool) { s.breaks.listen(&s.ctx, c) }

func (s *Session) ptyState() PTY {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pty
}
