package middleware_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog"
)

// The cost of logging a connection with one session: five lines, and a sixth below the level.
func BenchmarkLogging(b *testing.B) {
	for _, format := range eventlog.Formats {
		b.Run(format, func(b *testing.B) { benchmarkLogging(b, format, -1) })
	}
	b.Run("over the rate", func(b *testing.B) { benchmarkLogging(b, "text", 1) })
}

func benchmarkLogging(b *testing.B, format string, rate int) {
	logger := eventlog.NewLogger(discard{}, format, slog.LevelInfo)
	serve := logged(b, middleware.Logging(eventlog.New(eventlog.Config{Logger: logger, Rate: rate})))
	b.ReportAllocs()
	for b.Loop() {
		serve()
	}
}

// discard is not io.Discard, for which slog skips all work.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// logged returns a function that serves one connection without a network.
func logged(b *testing.B, logging middleware.Layer) (serve func()) {
	srv := newServer(b, logging, middleware.Open(), middleware.Handler("test", func(ssh.Session) {}))
	return func() {
		v := &fakeContext{Context: context.Background(), addr: &net.TCPAddr{IP: net.IPv6loopback, Port: 50222}}
		conn := srv.ConnCallback(v, silentConn{from: v.addr})
		attempt := srv.ServerConfigCallback(v).AuthLogCallback
		attempt(fakeMetadata{context: v}, "none", gossh.ErrNoAuth)
		attempt(fakeMetadata{context: v}, "password", nil)
		srv.Handler(fakeSession{context: v})
		srv.ConnectionCloseCallback(&struct{ net.Conn }{conn})
	}
}

// fakeContext is the context of a connection that does not exist.
type fakeContext struct {
	context.Context
	sync.Mutex
	addr   net.Addr
	values map[any]any
}

func (c *fakeContext) SetValue(key, value any) {
	if c.values == nil {
		c.values = map[any]any{}
	}
	c.values[key] = value
}

func (c *fakeContext) Value(key any) any    { return c.values[key] }
func (*fakeContext) User() string           { return "guest" }
func (*fakeContext) SessionID() string      { return "" }
func (*fakeContext) ClientVersion() string  { return "SSH-2.0-OpenSSH_10.0" }
func (*fakeContext) ServerVersion() string  { return "" }
func (c *fakeContext) RemoteAddr() net.Addr { return c.addr }
func (*fakeContext) LocalAddr() net.Addr    { return nil }
func (*fakeContext) Permissions() *ssh.Permissions {
	return &ssh.Permissions{Permissions: &gossh.Permissions{}}
}

type fakeMetadata struct {
	gossh.ConnMetadata
	context *fakeContext
}

func (m fakeMetadata) User() string          { return m.context.User() }
func (m fakeMetadata) ClientVersion() []byte { return []byte(m.context.ClientVersion()) }

type fakeSession struct {
	ssh.Session
	context *fakeContext
}

func (s fakeSession) User() string                          { return s.context.User() }
func (s fakeSession) Context() ssh.Context                  { return s.context }
func (fakeSession) RawCommand() string                      { return "" }
func (fakeSession) Subsystem() string                       { return "" }
func (fakeSession) Pty() (ssh.Pty, <-chan ssh.Window, bool) { return ssh.Pty{}, nil, false }
func (s fakeSession) Permissions() ssh.Permissions          { return *s.context.Permissions() }
