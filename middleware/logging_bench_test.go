package middleware_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog"
)

// What logging costs of a visit: five lines, and a sixth that the level leaves out.
func BenchmarkLogging(b *testing.B) {
	for _, format := range eventlog.Formats {
		b.Run(format, func(b *testing.B) { visits(b, format, -1) })
	}
	b.Run("left out", func(b *testing.B) { visits(b, "text", 1) })
}

func visits(b *testing.B, format string, rate int) {
	logger := eventlog.NewLogger(discard{}, format, slog.LevelInfo)
	visit := logged(b, middleware.Logging(eventlog.New(eventlog.Config{Logger: logger, Rate: rate})))
	b.ReportAllocs()
	for b.Loop() {
		visit()
	}
}

// discard is not io.Discard, for which a logger does nothing at all.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// logged returns what makes a visit of which only logging hears.
func logged(b *testing.B, logging middleware.Layer) (visit func()) {
	srv := newServer(b, logging, middleware.Open(), middleware.Handler("test", func(ssh.Session) {}))
	return func() {
		v := &visitor{Context: context.Background(), addr: &net.TCPAddr{IP: net.IPv6loopback, Port: 50222}}
		conn := srv.ConnCallback(v, knocking{addr: v.addr})
		attempt := srv.ServerConfigCallback(v).AuthLogCallback
		attempt(introduced{visitor: v}, "none", gossh.ErrNoAuth)
		attempt(introduced{visitor: v}, "password", nil)
		srv.Handler(seated{visitor: v})
		srv.ConnectionCloseCallback(&struct{ net.Conn }{conn})
	}
}

// visitor is the context of a connection without a connection. The other types are it in other roles.
type visitor struct {
	context.Context
	sync.Mutex
	addr   net.Addr
	values map[any]any
}

func (v *visitor) SetValue(key, value any) {
	if v.values == nil {
		v.values = map[any]any{}
	}
	v.values[key] = value
}

func (v *visitor) Value(key any) any    { return v.values[key] }
func (*visitor) User() string           { return "guest" }
func (*visitor) SessionID() string      { return "" }
func (*visitor) ClientVersion() string  { return "SSH-2.0-OpenSSH_10.0" }
func (*visitor) ServerVersion() string  { return "" }
func (v *visitor) RemoteAddr() net.Addr { return v.addr }
func (*visitor) LocalAddr() net.Addr    { return nil }
func (*visitor) Permissions() *ssh.Permissions {
	return &ssh.Permissions{Permissions: &gossh.Permissions{}}
}

type knocking struct {
	net.Conn
	addr net.Addr
}

func (k knocking) RemoteAddr() net.Addr          { return k.addr }
func (k knocking) Read([]byte) (int, error)      { return 0, io.EOF }
func (k knocking) Write(p []byte) (int, error)   { return len(p), nil }
func (k knocking) SetDeadline(_ time.Time) error { return nil }

type introduced struct {
	gossh.ConnMetadata
	visitor *visitor
}

func (i introduced) User() string          { return i.visitor.User() }
func (i introduced) ClientVersion() []byte { return []byte(i.visitor.ClientVersion()) }

type seated struct {
	ssh.Session
	visitor *visitor
}

func (s seated) User() string                          { return s.visitor.User() }
func (s seated) Context() ssh.Context                  { return s.visitor }
func (seated) RawCommand() string                      { return "" }
func (seated) Subsystem() string                       { return "" }
func (seated) Pty() (ssh.Pty, <-chan ssh.Window, bool) { return ssh.Pty{}, nil, false }
func (s seated) Permissions() ssh.Permissions          { return *s.visitor.Permissions() }
