package session_test

import (
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

// window is how much a client may send that nobody has read, and so what x/crypto keeps of a session's input at most.
const window = 2 << 20

// rawSession returns a client that has opened a session, channel 0 on both sides, and that does not respect the window.
func rawSession(t *testing.T, srv server) *sshtest.Raw {
	t.Helper()
	raw := srv.DialRaw(t)
	if _, err := raw.Attempt("guest", "ssh-connection", "none", nil); err != nil {
		t.Fatal(err)
	}
	if err := raw.Write(sshtest.OpenChannel("session", 0)); err != nil {
		t.Fatal(err)
	}
	confirmed, err := raw.Await(sshtest.MsgChannelConfirmed)
	var msg struct {
		Theirs, Ours, Window, Max uint32 `sshtype:"91"`
	}
	if err != nil || gossh.Unmarshal(confirmed, &msg) != nil || msg.Window != window || msg.Ours != 0 {
		t.Fatalf("%v, and %+v", err, msg)
	}
	return raw
}

// requestRaw makes a channel request, and waits for the reply and then for a message of the types that follow.
func requestRaw(t *testing.T, raw *sshtest.Raw, request string, follows ...byte) {
	t.Helper()
	if err := raw.Write(sshtest.Message(sshtest.MsgChannelRequest, uint32(0), request, true)); err != nil {
		t.Fatal(err)
	}
	for _, types := range [][]byte{{sshtest.MsgChannelSuccess, sshtest.MsgChannelFailure}, follows} {
		if len(types) > 0 {
			if _, err := raw.Await(types...); err != nil {
				t.Fatalf("%s: %v", request, err)
			}
		}
	}
}

func sendRaw(raw *sshtest.Raw, stderr bool, data []byte) error {
	if stderr {
		return raw.Write(sshtest.Message(sshtest.MsgExtendedData, uint32(0), uint32(1), string(data)))
	}
	return raw.Write(sshtest.Message(sshtest.MsgChannelData, uint32(0), string(data)))
}

// Input that nobody reads is kept up to the window, and a byte more ends the connection: before the shell, beside a
// handler that does not read, and after one.
func TestWindowOverflow(t *testing.T) {
	for _, tt := range []struct {
		name   string
		h      ssh.Handler
		stderr bool
	}{
		{"no request", nil, false},
		{"no request, stderr", nil, true},
		{"a handler that does not read", untilGone, false},
		{"a handler that does not read, stderr", untilGone, true},
		{"a session that has ended", func(ssh.Session) {}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := rawSession(t, serve(t, nil, tt.h))
			if sess := tt.name == "a session that has ended"; sess {
				requestRaw(t, raw, "shell", sshtest.MsgChannelClose)
			} else if tt.h != nil {
				requestRaw(t, raw, "shell")
			}
			for range window / (32 << 10) {
				if err := sendRaw(raw, tt.stderr, make([]byte, 32<<10)); err != nil {
					t.Fatal(err)
				}
			}
			keepalive := sshtest.Message(sshtest.MsgGlobalRequest, "keepalive@openssh.com", true)
			if err := raw.Write(keepalive); err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Await(82); err != nil { // SSH_MSG_REQUEST_FAILURE
				t.Fatalf("a window's worth of input ended the connection: %v", err)
			}
			if err := sendRaw(raw, tt.stderr, []byte{0}); err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Await(); err == nil {
				t.Error("more than a window's worth of input was taken")
			}
		})
	}
}

// readChannel counts what is read from a channel.
type readChannel struct {
	gossh.NewChannel
	stdin, stderr atomic.Int64
}

func (c *readChannel) Accept() (gossh.Channel, <-chan *gossh.Request, error) {
	channel, requests, err := c.NewChannel.Accept()
	return countedChannel{channel, c}, requests, err
}

type countedChannel struct {
	gossh.Channel
	counts *readChannel
}

func (c countedChannel) Read(p []byte) (int, error) {
	n, err := c.Channel.Read(p)
	c.counts.stdin.Add(int64(n))
	return n, err
}

func (c countedChannel) Stderr() io.ReadWriter {
	stderr := c.Channel.Stderr()
	return struct {
		io.Reader
		io.Writer
	}{readFunc(func(p []byte) (int, error) {
		n, err := stderr.Read(p)
		c.counts.stderr.Add(int64(n))
		return n, err
	}), stderr}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// Input that no handler has read is read at the end, so that it is no longer counted as kept.
func TestInputIsDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit, handled := make(chan struct{}), make(chan *readChannel, 1)
		channels := &session.Channels{}
		srv := handler(func(ssh.Session) { <-exit })
		srv.ChannelHandlers = map[string]ssh.ChannelHandler{
			"session": func(srv *ssh.Server, conn *gossh.ServerConn, opened gossh.NewChannel, ctx ssh.Context) {
				counted := &readChannel{NewChannel: opened}
				channels.Handle(srv, conn, counted, ctx)
				handled <- counted
			},
		}
		w := newWire(t, srv, nil)
		v := open(t, w.client)
		v.ask(t, "shell", nil)
		_, _ = v.Write(make([]byte, 1<<20))
		_, _ = v.Stderr().Write(make([]byte, 1<<19))
		synctest.Wait()
		close(exit)
		counted := <-handled
		if stdin, stderr := counted.stdin.Load(), counted.stderr.Load(); stdin != 1<<20 || stderr != 1<<19 {
			t.Errorf("%d and %d bytes were read", stdin, stderr)
		}
	})
}
