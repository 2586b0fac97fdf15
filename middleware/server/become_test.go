//go:build !windows

package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/penalties"
	"foyer/middleware/server"
	"foyer/middleware/sshtest"
)

// reloadable is a server whose configuration can be replaced.
type reloadable struct {
	*server.Server
	log  *sshtest.Log
	stop context.CancelFunc
	done chan error
	todo chan func() // on SIGHUP
}

func say(text string, until <-chan struct{}) middleware.Layer {
	return middleware.Handler("say", func(sess ssh.Session) {
		_, _ = io.WriteString(sess, text)
		if until != nil {
			select {
			case <-until:
			case <-sess.Context().Done():
			}
		}
	})
}

func serveReloadable(t *testing.T, cfg server.Config, last middleware.Layer) *reloadable {
	t.Helper()
	r := &reloadable{log: sshtest.NewLog(), done: make(chan error, 1), todo: make(chan func(), 1)}
	cfg.Writer, cfg.HostKeys = r.log, t.TempDir()
	if cfg.Listen == nil {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	var err error
	if r.Server, err = server.New(cfg); err != nil {
		t.Fatal(err)
	}
	r.OnHangup = func() { (<-r.todo)() }
	if err := errors.Join(r.Open(t.Context()), r.LoadHostKeys(), r.Build(r.layers(r.Server, last)...)); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() { r.done <- r.Serve(ctx) }()
	t.Cleanup(func() { r.stop(); <-r.done })
	return r
}

func (r *reloadable) layers(s *server.Server, last middleware.Layer) []middleware.Layer {
	return []middleware.Layer{
		middleware.Recover(), middleware.Penalties(s.Tracker), middleware.Limits(s.Table), middleware.Budgets(s.Budgets),
		middleware.Logging(s.Events), middleware.Open(), last,
	}
}

// become makes new connections those of another configuration.
func (r *reloadable) become(t *testing.T, cfg server.Config, last middleware.Layer) {
	t.Helper()
	cfg.Writer, cfg.HostKeys = r.Writer, r.HostKeys
	if cfg.Listen == nil {
		cfg.Listen = r.Listen
	}
	next, err := r.Next(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(next.LoadHostKeys(), next.Build(r.layers(next, last)...)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	r.todo <- func() { r.Become(t.Context(), next); close(done) }
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-done
}

func (r *reloadable) dial(t *testing.T) *gossh.Client {
	t.Helper()
	addr := r.Addrs()[0]
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	c, chans, reqs, err := gossh.NewClientConn(conn, "", &gossh.ClientConfig{User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	client := gossh.NewClient(c, chans, reqs)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Open connections keep their layers and limits, new ones have the new ones, and a drain ends the sessions of both.
func TestBecome(t *testing.T) {
	r := serveReloadable(t, server.Config{Limits: server.Limits{Sessions: 1}, Deadlines: server.Deadlines{Drain: 2 * time.Second}}, say("old", nil))
	old := r.dial(t)
	until := make(chan struct{})
	r.become(t, server.Config{Limits: server.Limits{Sessions: 2}, Deadlines: server.Deadlines{Drain: 2 * time.Second}}, say("new", until))
	if got := sshtest.Run(t, old, sshtest.Visit{}); got.Stdout != "old" {
		t.Errorf("an open connection got %+v", got)
	}
	sshtest.Eventually(t, "the first session is not over", func() bool {
		_, _, err := old.OpenChannel("session", nil)
		return err == nil
	})
	if _, _, err := old.OpenChannel("session", nil); err == nil {
		t.Error("an open connection has more sessions at once than before")
	}
	recent := r.dial(t)
	outputs, err := sessionsOf(recent, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, output := range outputs {
		text := make([]byte, 3)
		if _, err := io.ReadFull(output, text); err != nil || string(text) != "new" {
			t.Errorf("a new connection got %q, %v", text, err)
		}
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	r.done <- nil
	r.log.Line(t, "sessions cut off", "n=3")
}

// sessionsOf opens sessions with a shell.
func sessionsOf(client *gossh.Client, n int) (outputs []io.Reader, err error) {
	for range n {
		channel, requests, err := client.OpenChannel("session", nil)
		if err != nil {
			return nil, err
		}
		go gossh.DiscardRequests(requests)
		if _, err := channel.SendRequest("shell", true, nil); err != nil {
			return nil, err
		}
		outputs = append(outputs, channel)
	}
	return outputs, nil
}

// What the layers share changes too: the limit of connections, and the networks without penalties. What sources owe stays.
func TestBecomeChangesWhatIsShared(t *testing.T) {
	r := serveReloadable(t, server.Config{}, say("hi", nil))
	for range 4 {
		c, _ := r.Tracker.Admit(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		c.Attempt("guest", penalties.Failed)
		c.Close(errors.New("left"))
	}
	r.become(t, server.Config{}, say("hi", nil))
	if r.Tracker.Blocked() != 1 {
		t.Error("a reload forgives")
	}
	exempt := server.Config{Limits: server.Limits{Connections: 1}}
	exempt.Networks.Exempt = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	r.become(t, exempt, say("exempt", nil))
	first := r.dial(t)
	if got := sshtest.Run(t, first, sshtest.Visit{}); got.Stdout != "exempt" {
		t.Errorf("an exempt visitor got %+v", got)
	}
	_, err := gossh.Dial("tcp", r.Addrs()[0].String(), &gossh.ClientConfig{User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey()})
	if err == nil || !strings.Contains(err.Error(), "too many visitors") {
		t.Errorf("beyond the new limit: %v", err)
	}
}

// A bad configuration is refused before anything changes, and a directory without host keys gets none.
func TestNextRefuses(t *testing.T) {
	r := serveReloadable(t, server.Config{}, say("hi", nil))
	if _, err := r.Next(server.Config{Limits: server.Limits{Connections: 1 << 30}}); err == nil {
		t.Error("more connections than descriptors are accepted")
	}
	cfg := r.Config
	cfg.HostKeys = filepath.Join(t.TempDir(), "none")
	next, err := r.Next(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.LoadHostKeys(); err == nil {
		t.Error("host keys are made while the server runs")
	}
	if got := sshtest.Run(t, r.dial(t), sshtest.Visit{}); got.Stdout != "hi" {
		t.Errorf("got %+v", got)
	}
}
