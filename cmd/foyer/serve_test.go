package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

// drained is a door that serves handler until its context is done.
type drained struct {
	address string
	stop    context.CancelFunc
	served  chan error
	log     *sshtest.Log
}

func serveUntilStopped(t *testing.T, limit time.Duration, access middleware.Layer, handler ssh.Handler) *drained {
	t.Helper()
	cfg := &Config{SourceBits: "32:64", LogFormat: "logfmt", Limits: Limits{Sessions: 10, SessionsEver: 10}}
	cfg.derive(1000)
	text := sshtest.NewLog()
	logger, page := cfg.logger(text)
	door := &door{sessions: &session.Channels{}, users: &users{}, gate: newGate(cfg, logger, page), limit: limit}
	var err error
	door.srv, err = wish.NewServer(
		func(srv *ssh.Server) error { srv.AddHostKey(sshtest.HostKey(t)); return nil },
		door.sessions.Register,
		middleware.Stack(handler, middleware.Limits(door.gate.table), middleware.Logging(door.gate.lines), access),
	)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	d := &drained{listener.Addr().String(), stop, make(chan error, 1), text}
	go func() {
		err := door.accept(ctx, listener)
		door.drain(logger)
		d.served <- err
	}()
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

// Whoever is not in yet when foyer is told to stop is not let in any more, and keeps nobody waiting.
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

// ponder is a source of passwords that has been asked for one, and takes its time.
type ponder chan bool

func (p ponder) VerifyFrom(ctx context.Context, _ netip.Addr, _, _ string) error {
	close(p)
	<-ctx.Done()
	return ctx.Err()
}

// Whoever is about to log in when foyer is told to stop hears why that comes to nothing.
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
	if accepted < many/2 || closed != accepted || !strings.HasSuffix(text, " msg=closed\n") {
		t.Errorf("%d connections, and %d were closed:\n%s", accepted, closed, text)
	}
}

// A second signal ends foyer at once, whoever is still inside.
func TestSecondSignal(t *testing.T) {
	door, err := start(t.TempDir(), nil, []string{"--open", "--hostkeys", "keys"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(door.kill)
	client, err := gossh.Dial("tcp", "127.0.0.1:"+door.port, &gossh.ClientConfig{
		User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.OpenChannel("session", nil); err != nil { // it never asks for anything
		t.Fatal(err)
	}
	if err := door.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(door.log(t), "closing") { // the first signal was heard
		time.Sleep(time.Millisecond)
	}
	err = door.stop(os.Interrupt)
	if exit, ok := err.(*exec.ExitError); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Errorf("after a second signal foyer exited with %v", err)
	}
}

func TestCommand(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"[::]:2022", "ssh -p 2022 guest@localhost"},
		{"0.0.0.0:22", "ssh guest@localhost"},
		{"127.0.0.1:2022", "ssh -p 2022 guest@localhost"},
		{"192.0.2.7:2022", "ssh -p 2022 guest@192.0.2.7"},
		{"[2001:db8::7]:2022", "ssh -p 2022 guest@2001:db8::7"},
		{"[fe80::1%eth0]:2022", "ssh -p 2022 guest@fe80::1%eth0"},
	} {
		address, err := net.ResolveTCPAddr("tcp", tt.address)
		if err != nil {
			t.Fatal(err)
		}
		if got := command(address, "guest"); got != tt.want {
			t.Errorf("command(%s) = %q, want %q", tt.address, got, tt.want)
		}
	}
}
