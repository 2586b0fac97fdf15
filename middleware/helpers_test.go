package middleware_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

// captureLibraryLog returns what charm.land/ssh logs until the test ends, including the panics that it recovers.
func captureLibraryLog(t testing.TB) *sshtest.Log {
	l := sshtest.NewLog()
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(l, nil)))
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(os.Stderr) // SetDefault redirects it, and does not undo that
	})
	return l
}

// refusePTY returns a layer that refuses every PTY and writes nothing.
func refusePTY() middleware.Layer {
	return middleware.Layer{Connect: func(*middleware.Conn) (middleware.Moments, error) {
		return middleware.Moments{Terminal: func(ssh.Pty) bool { return false }}, nil
	}}
}

// configures returns a layer that configures the handshake and declares these methods.
func configures(configure func(*gossh.ServerConfig), methods ...string) middleware.Layer {
	return middleware.Layer{Methods: methods, Connect: func(*middleware.Conn) (middleware.Moments, error) {
		return middleware.Moments{Configure: configure}, nil
	}}
}

// connects returns a layer that calls connect for each connection.
func connects(connect func(*middleware.Conn) error) middleware.Layer {
	return middleware.Layer{Connect: func(c *middleware.Conn) (middleware.Moments, error) {
		return middleware.Moments{}, connect(c)
	}}
}

// notifyClosed returns a layer that sends on closed when a connection is over.
func notifyClosed(closed chan<- struct{}) middleware.Layer {
	return middleware.Layer{Connect: func(*middleware.Conn) (middleware.Moments, error) {
		return middleware.Moments{Closed: func(error) { closed <- struct{}{} }}, nil
	}}
}

// expect compares what the client received with what it has to receive.
func expect(t testing.TB, got, want sshtest.Result) {
	t.Helper()
	if got != want {
		t.Errorf("the client received %#v\nwant                %#v", got, want)
	}
}

// dial opens a connection, which is closed when the test ends.
func dial(t testing.TB, srv *sshtest.Server, user string) *gossh.Client {
	t.Helper()
	client, err := srv.Dial(user, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// atTerminal requests a shell at a terminal of any name and width, also those that an sshtest.Visit cannot have.
func atTerminal(t testing.TB, client *gossh.Client, term string, width int, env ...string) sshtest.Result {
	t.Helper()
	var pty bool
	got := runSession(t, client, func(sess *gossh.Session) error {
		for _, variable := range env {
			name, value, _ := strings.Cut(variable, "=")
			if err := sess.Setenv(name, value); err != nil {
				return err
			}
		}
		pty = sess.RequestPty(term, 24, width, nil) == nil
		return sess.Shell()
	})
	got.PTY = pty
	return got
}

// runSession opens a session, calls start, and waits for the end of the session.
func runSession(t testing.TB, client *gossh.Client, start func(*gossh.Session) error) sshtest.Result {
	t.Helper()
	sess, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sess.Close() }()
	var stdout, stderr bytes.Buffer
	sess.Stdout, sess.Stderr = &stdout, &stderr
	if err := start(sess); err != nil {
		t.Fatal(err)
	}
	status := 0
	var exit *gossh.ExitError
	switch err := sess.Wait(); {
	case errors.As(err, &exit):
		status = exit.ExitStatus()
	case err != nil:
		status = -1
	}
	return sshtest.Result{Stdout: stdout.String(), Stderr: stderr.String(), Status: status}
}

// newServer returns a server of these layers that does not listen: tests connect to it in memory.
func newServer(t testing.TB, layers ...middleware.Layer) *ssh.Server {
	t.Helper()
	srv := &ssh.Server{Version: "foyer"}
	srv.AddHostKey(sshtest.HostKey(t))
	if err := middleware.NewStack(layers...).Install(srv); err != nil {
		t.Fatal(err)
	}
	return srv
}

// isClosed reports whether a channel, on which nothing is sent, is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// mustWrite sends a packet.
func mustWrite(t testing.TB, c *sshtest.Raw, packet []byte) {
	t.Helper()
	if err := c.Write(packet); err != nil {
		t.Fatal(err)
	}
}

// silentConn is a connection whose client sends nothing and disconnects.
type silentConn struct {
	net.Conn
	from net.Addr
}

func (c silentConn) RemoteAddr() net.Addr        { return c.from }
func (silentConn) LocalAddr() net.Addr           { return &net.TCPAddr{} }
func (silentConn) Read([]byte) (int, error)      { return 0, io.EOF }
func (silentConn) Write(p []byte) (int, error)   { return len(p), nil }
func (silentConn) Close() error                  { return nil }
func (silentConn) SetDeadline(_ time.Time) error { return nil }

// barrier returns a layer in which sessions wait until n of them have arrived, again and again.
func barrier(t testing.TB, n int) middleware.Layer {
	var mu sync.Mutex
	waiting, complete := 0, make(chan struct{})
	arrive := func() <-chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		here := complete
		if waiting++; waiting == n {
			close(complete)
			waiting, complete = 0, make(chan struct{})
		}
		return here
	}
	return middleware.Layer{Session: func(next ssh.Handler) ssh.Handler {
		return func(sess ssh.Session) {
			select {
			case <-arrive():
			case <-time.After(sshtest.Patience):
				t.Errorf("fewer than %d sessions arrived", n)
			}
			next(sess)
		}
	}}
}

// concurrently calls do with 0 to n-1 in one goroutine each, and returns when all calls have.
func concurrently(n int, do func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// passwordLayer returns a Password layer that accepts a password where verify returns true.
func passwordLayer(verify func(user, password string) bool) middleware.Layer {
	return middleware.Password(verifier(verify))
}

type verifier func(user, password string) bool

func (v verifier) VerifyFrom(_ context.Context, _ netip.Addr, user, password string) error {
	if !v(user, password) {
		return errors.New("wrong password")
	}
	return nil
}

// newRSA returns an RSA key. sshtest.HostKey returns an ed25519 one.
func newRSA(t testing.TB) gossh.Signer {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
