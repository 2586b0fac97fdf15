// Package sshtest serves a stack of layers on a loopback port or in memory and connects to it, so that the test of a
// layer can assert what a client receives and what the log contains: stdout, stderr, exit status, lines.
//
//	srv := sshtest.Serve(t, middleware.Open(), middleware.Greeting(middleware.Fixed("Welcome.")), middleware.Message(middleware.Fixed("hi\n")))
//	got := srv.Visit(t, sshtest.Visit{Term: "xterm"})
package sshtest

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog"
)

// Server is a server under test. It is closed when the test ends.
type Server struct {
	*ssh.Server
	Address string // host:port on loopback
}

// Serve serves the layers until the test ends. The test fails where they cannot be installed.
func Serve(t testing.TB, layers ...middleware.Layer) *Server {
	t.Helper()
	return Start(t, middleware.NewStack(layers...).Install)
}

// Start serves a server with these options until the test ends.
func Start(t testing.TB, options ...ssh.Option) *Server {
	t.Helper()
	key := func(srv *ssh.Server) error { srv.AddHostKey(HostKey(t)); return nil }
	srv, err := wish.NewServer(append([]ssh.Option{key}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	t.Cleanup(func() {
		_ = srv.Close()
		_ = listener.Close() // srv.Close has no effect before Serve has begun
		<-served
	})
	return &Server{Server: srv, Address: listener.Addr().String()}
}

// HostKey returns a new ed25519 key.
func HostKey(t testing.TB) gossh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// Visit is one session, as a client requests it. The zero value is a shell of the user "guest" without a terminal.
type Visit struct {
	User      string   // default "guest"
	Password  string   // sent when the server asks for one
	Term      string   // if not empty, a PTY is requested
	Width     int      // of the terminal; default 80 columns
	Env       []string // "name=value", sent before the request
	Command   string   // if not empty, an exec request
	Subsystem string   // if not empty, a subsystem request
}

// Result is what the client received.
type Result struct {
	Stdout, Stderr string
	Status         int  // the exit status, or -1 if none was sent
	PTY            bool // whether the PTY was granted
}

// Visit opens a connection for one visit.
func (s *Server) Visit(t testing.TB, v Visit) Result {
	t.Helper()
	client, err := s.Dial(v.User, v.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	return Run(t, client, v)
}

// Dial connects and authenticates, as "guest" if user is empty.
func (s *Server) Dial(user, password string) (*gossh.Client, error) {
	if user == "" {
		user = "guest"
	}
	return gossh.Dial("tcp", s.Address, &gossh.ClientConfig{
		User:            user,
		Auth:            []gossh.AuthMethod{gossh.Password(password)},
		HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
}

// maxSession is how long a session may last in a test. A handler that hangs fails it then.
const maxSession = 20 * time.Second

// DialTCP connects, with a deadline for the test's reads and writes, and sends nothing. The connection is closed when
// the test ends.
func (s *Server) DialTCP(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(Patience))
	return conn
}

// DialRaw returns a client that has connected and may authenticate. Its connection is closed when the test ends.
func (s *Server) DialRaw(t testing.TB) *Raw {
	t.Helper()
	c := NewRaw(s.DialTCP(t))
	if err := c.Handshake("SSH-2.0-raw", Curve25519); err != nil {
		t.Fatal(err)
	}
	return c
}

// HalfClose closes a connection for writing, and reads until the server closes it. An immediate close could reset it.
func HalfClose(conn net.Conn) {
	_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}

// Run makes one visit over a connection, which may carry others. The test fails where the request is refused.
func Run(t testing.TB, client *gossh.Client, v Visit) Result {
	t.Helper()
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = channel.Close() }()
	status := make(chan int, 1)
	go func() { status <- exitStatus(requests) }()
	hangs := time.AfterFunc(maxSession, func() { _ = client.Close() })

	var got Result
	for _, variable := range v.Env {
		name, value, _ := strings.Cut(variable, "=")
		Request(t, channel, "env", gossh.Marshal(struct{ Name, Value string }{name, value}))
	}
	if v.Term != "" {
		got.PTY = Request(t, channel, "pty-req", v.pty())
	}
	if !v.begin(t, channel) {
		t.Fatalf("the request of %+v was refused", v)
	}
	got.Stdout, got.Stderr = readAll(channel)
	got.Status = <-status
	if !hangs.Stop() {
		t.Fatalf("the session of %+v did not end within %s; so far: %+v", v, maxSession, got)
	}
	return got
}

// Request sends a channel request and returns the answer.
func Request(t testing.TB, channel gossh.Channel, name string, payload []byte) bool {
	t.Helper()
	ok, err := channel.SendRequest(name, true, payload)
	if err != nil {
		t.Fatalf("%s request: %v", name, err)
	}
	return ok
}

func (v Visit) pty() []byte {
	width := uint32(80)
	if v.Width > 0 {
		width = uint32(v.Width)
	}
	return gossh.Marshal(struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}{v.Term, width, 24, 0, 0, "\x00"})
}

func (v Visit) begin(t testing.TB, channel gossh.Channel) bool {
	t.Helper()
	switch {
	case v.Subsystem != "":
		return Request(t, channel, "subsystem", gossh.Marshal(struct{ Name string }{v.Subsystem}))
	case v.Command != "":
		return Request(t, channel, "exec", gossh.Marshal(struct{ Command string }{v.Command}))
	default:
		return Request(t, channel, "shell", nil)
	}
}

func exitStatus(requests <-chan *gossh.Request) int {
	status := -1
	for req := range requests {
		if req.Type == "exit-status" && len(req.Payload) == 4 {
			status = int(binary.BigEndian.Uint32(req.Payload))
		}
		_ = req.Reply(false, nil)
	}
	return status
}

func readAll(channel gossh.Channel) (stdout, stderr string) {
	done := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(channel.Stderr())
		done <- b
	}()
	b, _ := io.ReadAll(channel)
	return string(b), string(<-done)
}

// Log is a log that a test can read while the server writes to it.
type Log struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{} // closed and replaced with every write
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{grown: make(chan struct{})} }

// Logger returns a logger that writes to l in logfmt, from debug level on and without times.
func (l *Log) Logger() *slog.Logger {
	return slog.New(untimed{eventlog.NewLogger(l, "logfmt", slog.LevelDebug).Handler()})
}

// Events returns a log of connections that writes to l as Logger does.
func (l *Log) Events() *eventlog.Log { return eventlog.New(eventlog.Config{Logger: l.Logger()}) }

// untimed is a handler that leaves out the time, as slog's handlers do where it is zero.
type untimed struct{ slog.Handler }

func (u untimed) Handle(ctx context.Context, record slog.Record) error {
	record.Time = time.Time{}
	return u.Handler.Handle(ctx, record)
}

func (u untimed) WithAttrs(attrs []slog.Attr) slog.Handler {
	return untimed{u.Handler.WithAttrs(attrs)}
}
func (u untimed) WithGroup(name string) slog.Handler { return untimed{u.Handler.WithGroup(name)} }

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.grown)
	l.grown = make(chan struct{})
	return l.text.Write(p)
}

// String returns the lines that were written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Line waits for a line that has all of the parts, and returns it. The test fails where there is none.
func (l *Log) Line(t testing.TB, parts ...string) string {
	t.Helper()
	timeout := time.After(Patience)
	for {
		l.mu.Lock()
		grown := l.grown
		l.mu.Unlock()
		for line := range strings.Lines(l.String()) {
			if containsAll(line, parts) {
				return strings.TrimSpace(line)
			}
		}
		select {
		case <-grown:
		case <-timeout:
			t.Fatalf("no line with %q in the log:\n%s", parts, l)
		}
	}
}

func containsAll(line string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(line, part) {
			return false
		}
	}
	return true
}
