package session_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime/pprof"
	"testing"
	"testing/synctest"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

type key string

// A value that a session sets stays in it. All sessions of a connection see the connection's values.
func TestContextValues(t *testing.T) {
	var conn ssh.Context
	contexts := make(chan ssh.Context, 2)
	srv := serve(t, nil, func(sess ssh.Session) {
		ctx := sess.Context()
		ctx.SetValue(key("mine"), sess.RawCommand())
		ctx.SetValue(key("shared"), "hidden by "+sess.RawCommand())
		contexts <- ctx
		<-ctx.Done()
	}, func(srv *ssh.Server) error {
		srv.ConnCallback = func(ctx ssh.Context, c net.Conn) net.Conn {
			conn = ctx
			ctx.SetValue(key("shared"), "of the connection")
			ctx.SetValue(key("seen"), "by all")
			return c
		}
		return nil
	})
	client := srv.dial(t)
	for _, command := range []string{"a", "b"} {
		open(t, client).ask(t, "exec", str(command))
		ctx := <-contexts
		for k, want := range map[any]any{
			key("mine"): command, key("shared"): "hidden by " + command, key("seen"): "by all", key("none"): nil,
			ssh.ContextKeyUser: "guest", ssh.ContextKeyClientVersion: "SSH-2.0-Go",
		} {
			if got := ctx.Value(k); got != want {
				t.Errorf("%s: %v is %q, want %q", command, k, got, want)
			}
		}
		if sess, ok := ctx.Value(ssh.ContextKeySession).(ssh.Session); !ok || sess.RawCommand() != command {
			t.Errorf("%s: the session in its context is %v", command, sess)
		}
		if ctx.User() != "guest" || ctx.SessionID() != conn.SessionID() || ctx.Permissions() != conn.Permissions() {
			t.Errorf("%s: the connection is not seen through the session", command)
		}
	}
	if conn.Value(key("mine")) != nil || conn.Value(key("shared")) != "of the connection" || conn.Value(ssh.ContextKeySession) != nil {
		t.Error("what a session set is in its connection")
	}
}

var endings = []struct {
	name string
	h    func(ssh.Session)
	end  func(w *wire, v *visitor)
	all  bool // of the connection
}{
	{"Exit", func(sess ssh.Session) { _ = sess.Exit(0) }, nil, false},
	{"Exit without the client's consent", func(sess ssh.Session) { _ = sess.Exit(0) },
		func(w *wire, _ *visitor) { w.ToClient.Hold(true) }, false},
	{"the handler returns", func(ssh.Session) {}, nil, false},
	{"the client closes the channel", untilGone, func(_ *wire, v *visitor) { _ = v.Close() }, false},
	{"the client hangs up", untilGone, func(w *wire, _ *visitor) { _ = w.client.Close() }, true},
	{"the connection dies", untilGone, func(w *wire, _ *visitor) { w.ToServer.CloseWrite() }, true},
}

// A session's context ends with the session, however that ends, and no other one with it.
func TestContextEnds(t *testing.T) {
	for _, tt := range endings {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				contexts, next := make(chan ssh.Context), make(chan struct{})
				w := newWire(t, handler(func(sess ssh.Session) {
					contexts <- sess.Context()
					if sess.RawCommand() == "other" {
						<-sess.Context().Done()
						return
					}
					<-next
					tt.h(sess)
				}), nil)
				open(t, w.client).ask(t, "exec", str("other"))
				other := <-contexts
				v := open(t, w.client)
				v.ask(t, "shell", nil)
				ctx := <-contexts
				if _, limited := ctx.Deadline(); ctx.Err() != nil || limited {
					t.Errorf("a context that has not ended says %v", ctx.Err())
				}
				close(next)
				if tt.end != nil {
					tt.end(w, v)
				}
				<-ctx.Done()
				if !errors.Is(ctx.Err(), context.Canceled) {
					t.Errorf("a context that has ended says %v", ctx.Err())
				}
				synctest.Wait()
				if ended := other.Err() != nil; ended != tt.all {
					t.Errorf("another session of the connection has ended: %v, want %v", ended, tt.all)
				}
			})
		})
	}
}

// The session knows who is there as the library's own does: from the connection.
func TestIdentity(t *testing.T) {
	signer := sshtest.HostKey(t)
	sessions := make(chan ssh.Session, 1)
	srv := serve(t, nil, func(sess ssh.Session) { sessions <- sess }, func(srv *ssh.Server) error {
		srv.PublicKeyHandler = func(ssh.Context, ssh.PublicKey) bool { return true }
		srv.PasswordHandler = func(ctx ssh.Context, _ string) bool {
			ctx.Permissions().Extensions = map[string]string{"way": "in"}
			return true
		}
		return nil
	})
	for _, tt := range []struct {
		auth gossh.AuthMethod
		key  gossh.PublicKey
		way  string
	}{
		{gossh.PublicKeys(signer), signer.PublicKey(), ""},
		{gossh.Password(""), nil, "in"},
	} {
		client, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
			User: "alice", Auth: []gossh.AuthMethod{tt.auth}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
		})
		if err != nil {
			t.Fatal(err)
		}
		sshtest.Run(t, client, sshtest.Visit{})
		sess := <-sessions
		if sess.User() != "alice" || sess.Permissions().Extensions["way"] != tt.way {
			t.Errorf("user %q, permissions %v", sess.User(), sess.Permissions())
		}
		if key := sess.PublicKey(); tt.key == nil && key != nil || tt.key != nil && !ssh.KeysEqual(key, tt.key) {
			t.Errorf("key %v, want %v", key, tt.key)
		}
		if sess.RemoteAddr().String() != client.LocalAddr().String() || sess.LocalAddr().String() != srv.Address {
			t.Errorf("from %v to %v", sess.RemoteAddr(), sess.LocalAddr())
		}
		_ = client.Close()
	}
}

// Children of the context are cancelled with it and cost no goroutine, as [context] promises for its own kind.
func TestContextChildren(t *testing.T) {
	children := make(chan context.Context, 1)
	srv := serve(t, nil, func(sess ssh.Session) {
		var ctx context.Context = sess.Context()
		for range 100 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(context.WithValue(ctx, key("a"), "b"))
			defer cancel()
		}
		children <- ctx
		<-ctx.Done()
	})
	client := srv.dial(t)
	v := open(t, client)
	v.ask(t, "shell", nil)
	child := <-children
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(stacks.Bytes(), []byte("propagateCancel")) {
		t.Errorf("a child has a goroutine of its own:\n%s", &stacks)
	}
	_ = v.Close()
	<-child.Done()
}
