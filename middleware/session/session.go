package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/clean"
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
	srv     *ssh.Server
	conn    *gossh.ServerConn
	ctx     *sessionContext
	cancel  context.CancelFunc
	timeout time.Duration

	// The request loop's: written before the handler starts, and never after.
	request, command, subsystem string
	environ                     []string
	environBytes                int
	resized                     chan ssh.Window
	next                        ssh.Handler // to be started, once the request is answered

	handling sync.WaitGroup // the handler, once it was started
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

func newSession(srv *ssh.Server, conn *gossh.ServerConn, channel gossh.Channel, connCtx ssh.Context, timeout time.Duration) *Session {
	ctx, cancel := newContext(connCtx)
	s := &Session{Channel: channel, srv: srv, conn: conn, ctx: ctx, cancel: cancel, timeout: timeout}
	s.stdin.from, s.stderrIn.from = channel, channel.Stderr()
	s.stdout = stream{sess: s, to: channel}
	s.stderr = stream{sess: s, to: channel.Stderr()}
	ctx.SetValue(ssh.ContextKeySession, s)
	return s
}

// run serves the session with the handler that its request asked for, and ends it.
func (s *Session) run(handler ssh.Handler) {
	defer func() {
		_ = s.Exit(1) // an error where the session has ended as it should
		// What the handler did not read is discarded, so that it does not stay in memory until the client has
		// confirmed the close.
		_, _ = io.Copy(io.Discard, s)
	}()
	defer rescue()
	handler(s)
	_ = s.Exit(0) // an error where the handler has said so itself
}

// rescue is deferred around code that is not this package's. A panic that no layer caught ends there, and the log
// has its stack.
func rescue() {
	if r := recover(); r != nil {
		slog.Error("panic in session", "err", clean.String(fmt.Sprint(r), 256), "stack", string(debug.Stack()))
	}
}

// Exit sends the exit status and closes the channel, not the connection. A second call is an error and sends
// nothing. Status 255 is how ssh reports a failure of its own: it and all that is no exit status becomes 1.
func (s *Session) Exit(code int) error {
	if code < 0 || code > 254 {
		code = 1
	}
	s.mu.Lock()
	exited := s.exited
	s.exited = true
	if !exited {
		s.status = code
	}
	s.mu.Unlock()
	if exited {
		return errors.New("the session has exited already")
	}
	defer s.cancel()
	defer s.hurry()()
	if _, err := s.SendRequest("exit-status", false, gossh.Marshal(struct{ Status uint32 }{uint32(code)})); err != nil {
		return err
	}
	// RFC 4254 section 5.3: whoever has no more to send should say so. Where another goroutine is stuck in a write,
	// the close has to do.
	if s.stdout.mu.TryLock() {
		if s.stderr.mu.TryLock() {
			_ = s.endOutput()
			s.stderr.mu.Unlock()
		}
		s.stdout.mu.Unlock()
	}
	return s.Close()
}

// hurry gives what is sent until stop is called the write timeout: then the channel is closed, which a client can
// confirm however full its window is, and after a second timeout the connection, which takes a write that is stuck
// with it.
func (s *Session) hurry() (stop func()) {
	closeChannel := time.AfterFunc(s.timeout, func() {
		s.giveUp(errUnread)
		_ = s.Channel.Close()
	})
	closeConn := time.AfterFunc(2*s.timeout, func() { _ = s.conn.Close() })
	return func() {
		closeChannel.Stop()
		closeConn.Stop()
	}
}

// giveUp notes why the session is ended from this side.
func (s *Session) giveUp(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// Err returns why foyer gave the session up, or nil.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
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
	defer s.hurry()()
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
// word as it came: for a handler that knows nothing of [Of], no words mean a shell.
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
func (s *Session) Context() ssh.Context { return s.ctx }

// Permissions returns what the method that let the visitor in has granted.
func (s *Session) Permissions() ssh.Permissions { return *s.ctx.Permissions() }

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
func (s *Session) Signals(c chan<- ssh.Signal) { s.signals.listen(s.ctx, c) }

// Break delivers the client's breaks to c until called again. With nil, and before the first call, they are refused.
func (s *Session) Break(c chan<- bool) { s.breaks.listen(s.ctx, c) }

func (s *Session) ptyState() PTY {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pty
}
