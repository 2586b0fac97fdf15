package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/server"
	"foyer/middleware/sshtest"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// drained is a server that serves handler until it is stopped.
type drained struct {
	address string
	stop    context.CancelFunc
	served  chan error
	log     *sshtest.Log
}

func serveUntilStopped(t *testing.T, limit time.Duration, access middleware.Layer, handler ssh.Handler) *drained {
	t.Helper()
	text := sshtest.NewLog()
	s, err := server.New(server.Config{
		Listen: []string{"127.0.0.1:0"}, HostKeys: t.TempDir(), Deadlines: server.Deadlines{Drain: limit}, Log: server.Log{Writer: text},
	})
	if err != nil {
		t.Fatal(err)
	}
	list := []middleware.Layer{middleware.Limits(s.Table), middleware.Logging(s.Events), access, middleware.Handler("test", handler)}
	if err := errors.Join(s.Open(t.Context()), s.LoadHostKeys(), s.Build(list...)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	d := &drained{s.Addrs()[0].String(), stop, make(chan error, 1), text}
	go func() { d.served <- s.Serve(ctx) }()
	return d
}

func (d *drained) dial() (*gossh.Client, error) {
	return gossh.Dial("tcp", d.address, &gossh.ClientConfig{User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey()})
}

// A session that runs when foyer is told to stop gets to its end. No other begins, on old connections or new ones.
func TestDrainLetsSessionsFinish(t *testing.T) {
	running, finish := make(chan bool), make(chan bool)
	d := serveUntilStopped(t, time.Minute, middleware.Open(), func(sess ssh.Session) {
		close(running)
		<-finish
		_, _ = io.WriteString(sess, "to the end")
	})
	client, err := d.dial()
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan sshtest.Result, 1)
	go func() { result <- sshtest.Run(t, client, sshtest.Visit{}) }()
	<-running
	d.stop()
	d.log.Line(t, "msg=closing")

	if _, err := d.dial(); err == nil {
		t.Error("a late connection was accepted")
	}
	for { // sessions are refused right after that line
		channel, _, err := client.OpenChannel("session", nil)
		if err != nil {
			if !strings.Contains(err.Error(), "closing") {
				t.Errorf("a late session: %v", err)
			}
			break
		}
		_ = channel.Close()
	}
	close(finish)
	if got := <-result; got.Stdout != "to the end" || got.Status != 0 {
		t.Errorf("the running session got %+v", got)
	}
	if err := <-d.served; err != nil {
		t.Error(err)
	}
}

// A session that does not end is told so when its time is up, and foyer exits as it should all the same.
func TestDrainIsBounded(t *testing.T) {
	running := make(chan bool)
	d := serveUntilStopped(t, 2*time.Second, middleware.Open(), func(sess ssh.Session) {
		close(running)
		<-sess.Context().Done()
	})
	client, err := d.dial()
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan sshtest.Result, 1)
	go func() { result <- sshtest.Run(t, client, sshtest.Visit{}) }()
	<-running
	d.stop()
	if err := <-d.served; err != nil {
		t.Error(err)
	}
	if got := <-result; got.Status != 1 || got.Stderr != "This server is closing. Please come back later.\n" || got.Stdout != "" {
		t.Errorf("the session that was cut off got %+v", got)
	}
	d.log.Line(t, "sessions cut off")
}

// A client that does nothing when foyer is told to stop does not keep it for longer than two seconds.
func TestDrainRefusesHandshakes(t *testing.T) {
	d := serveUntilStopped(t, time.Hour, middleware.Open(), func(ssh.Session) {})
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewReader(conn)
	if _, err := lines.ReadString('\n'); err != nil { // the handshake has begun
		t.Fatal(err)
	}
	d.stop()
	if err := <-d.served; err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, lines); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the handshake goes on")
	}
}

// A login that is under way when foyer is told to stop comes to its message, and is not cut off. On a busy machine it may take
// longer than the two seconds that it has.
func TestDrainLetsHandshakesFinish(t *testing.T) {
	var got sshtest.Result
	for range 3 {
		if got = loginDuringDrain(t); got.Stdout == "hi" && got.Status == 0 {
			return
		}
	}
	t.Errorf("got %+v", got)
}

func loginDuringDrain(t *testing.T) sshtest.Result {
	t.Helper()
	hold := make(holdLogin)
	d := serveUntilStopped(t, time.Minute, middleware.Password(hold), func(sess ssh.Session) { _, _ = io.WriteString(sess, "hi") })
	result := make(chan sshtest.Result, 1)
	go func() {
		client, err := gossh.Dial("tcp", d.address, &gossh.ClientConfig{
			User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(), Auth: []gossh.AuthMethod{gossh.Password("secret")},
		})
		if err != nil {
			result <- sshtest.Result{Stderr: err.Error()}
			return
		}
		result <- sshtest.Run(t, client, sshtest.Visit{})
		if _, _, err := client.OpenChannel("session", nil); err == nil {
			t.Error("a second session is let in")
		}
	}()
	hold <- true // it is being asked
	d.stop()
	d.log.Line(t, "msg=closing")
	hold <- true
	if err := <-d.served; err != nil {
		t.Error(err)
	}
	return <-result
}

// holdLogin is a source of passwords that accepts when it has been received from twice.
type holdLogin chan bool

func (h holdLogin) VerifyFrom(context.Context, netip.Addr, string, string) error {
	<-h
	<-h
	return nil
}

// ponder is a source of passwords that has been asked for one, and takes its time.
type ponder chan bool

func (p ponder) VerifyFrom(ctx context.Context, _ netip.Addr, _, _ string) error {
	close(p)
	<-ctx.Done()
	return ctx.Err()
}

// Whoever stays at the prompt when foyer is told to stop hears why that comes to nothing.
func TestDrainTellsWhoIsAtThePrompt(t *testing.T) {
	passwords := make(ponder)
	d := serveUntilStopped(t, time.Hour, middleware.Password(passwords), func(ssh.Session) {})
	heard := make(chan string, 1)
	go func() {
		var words string
		_, err := gossh.Dial("tcp", d.address, &gossh.ClientConfig{
			User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(), Auth: []gossh.AuthMethod{gossh.Password("secret")},
			BannerCallback: func(text string) error { words += text; return nil },
		})
		if err == nil {
			words = "come in"
		}
		heard <- words
	}()
	<-passwords
	d.stop()
	if err := <-d.served; err != nil {
		t.Error(err)
	}
	if words := <-heard; words != "this server is closing, please come back later\r\n" {
		t.Errorf("they hear %q", words)
	}
}

// An idle connection keeps nobody waiting.
func TestDrainClosesIdleConnections(t *testing.T) {
	d := serveUntilStopped(t, time.Hour, middleware.Open(), func(ssh.Session) {})
	client, err := d.dial()
	if err != nil {
		t.Fatal(err)
	}
	sshtest.Run(t, client, sshtest.Visit{}) // the library knows the connection no sooner than its first session
	d.stop()
	if err := <-d.served; err != nil {
		t.Error(err)
	}
	if err := client.Wait(); err == nil {
		t.Error("the connection was not closed")
	}
}

// Whoever was there when foyer was told to stop has a last line in the log, before foyer's own.
func TestDrainTellsOfEveryConnection(t *testing.T) {
	d := serveUntilStopped(t, time.Hour, middleware.Open(), func(ssh.Session) {})
	const many = 50
	for i := range many {
		if i%2 == 0 {
			conn, err := net.Dial("tcp", d.address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			continue
		}
		client, err := d.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
	}
	d.stop()
	if err := <-d.served; err != nil {
		t.Error(err)
	}
	text := d.log.String()
	accepted, closed := strings.Count(text, "connection accepted"), strings.Count(text, "connection closed")
	if accepted != many/2 || closed < accepted || closed > many || !strings.HasSuffix(text, " msg=closed\n") {
		t.Errorf("%d connections, and %d were closed:\n%s", accepted, closed, text)
	}
}
