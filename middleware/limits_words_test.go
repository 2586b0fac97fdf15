package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/sshtest"
)

// refusals are the reasons for which a server refuses connections, with the message that the client receives.
var refusals = map[string]struct {
	fill   func(testing.TB, *sshtest.Server, *middleware.Stack)
	reason uint32
	words  string
}{
	"busy": {func(t testing.TB, srv *sshtest.Server, _ *middleware.Stack) { dial(t, srv, "guest") },
		12, "too many visitors at the moment, please try again in a minute"},
	"draining": {func(_ testing.TB, _ *sshtest.Server, stack *middleware.Stack) {
		now, cancel := context.WithDeadline(context.Background(), time.Now())
		defer cancel()
		stack.Drain(now, "")
	},
		7, "this server is closing, please come back later"},
}

// A refused client receives the reason in a form that clients show, also where it has sent something already: the server
// reads that, or a reset would lose the reason.
func TestLimitsReason(t *testing.T) {
	for name, tt := range refusals {
		t.Run(name, func(t *testing.T) {
			table := newTable(func(cfg *limits.Config) { cfg.Max = 1 })
			stack := middleware.NewStack(middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami))
			srv := sshtest.Start(t, stack.Install)
			tt.fill(t, srv, stack)

			_, err := srv.Dial("guest", "")
			if err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("x/crypto's client reports %v, want %q", err, tt.words)
			}
			for range 50 {
				c := sshtest.NewRaw(srv.DialTCP(t))
				_, _ = io.WriteString(c.Conn, "SSH-2.0-raw\r\n"+string(sshtest.Unencrypted(sshtest.Init(sshtest.Curve25519))))
				checkDisconnected(t, c, tt.reason, tt.words)
			}
		})
	}
}

// checkDisconnected checks that a client which has sent its version line receives the reason, and then EOF.
func checkDisconnected(t *testing.T, c *sshtest.Raw, reason uint32, words string) {
	t.Helper()
	var received *sshtest.Disconnected
	err := c.Greet("")
	if err == nil {
		_, err = c.Await(sshtest.MsgKexInit)
	}
	if !errors.As(err, &received) || received.Reason != reason || received.Message != words {
		t.Errorf("received %v, want reason %d, %q", err, reason, words)
	}
	if _, err := c.Read(); err != io.EOF {
		t.Errorf("disconnected with %v", err)
	}
}

// OpenSSH shows the reason.
func TestLimitsReasonInOpenSSH(t *testing.T) {
	program := openSSH(t)
	for name, tt := range refusals {
		t.Run(name, func(t *testing.T) {
			table := newTable(func(cfg *limits.Config) { cfg.Max = 1 })
			stack := middleware.NewStack(middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami))
			srv := sshtest.Start(t, stack.Install)
			tt.fill(t, srv, stack)
			host, port, _ := net.SplitHostPort(srv.Address)
			cmd := exec.CommandContext(t.Context(), program, "-F", "none", "-o", "BatchMode=yes", "-p", port, host)
			output, err := cmd.CombinedOutput()
			want := fmt.Sprintf("Received disconnect from %s port %s:%d: %s", host, port, tt.reason, tt.words)
			if err == nil || !strings.Contains(string(output), want) {
				t.Errorf("ssh prints %q, want %q", output, want)
			}
		})
	}
}

// evictions are clients that are evicted at different stages, and how they receive the reason.
var evictions = map[string]struct {
	begin   func(*sshtest.Raw) error
	receive func(*sshtest.Raw) (words string, err error)

	inBanner bool
}{
	"silent":           {func(*sshtest.Raw) error { return nil }, greetAndRead, false},
	"with its version": {greet, readDisconnect, false},
	"with a KEXINIT":   {propose, readDisconnect, false},
	"with keys":        {exchangeKeys, startAndReadBanner, true},
	"at the prompt":    {handshake, readBanner, true},
	"after a password": {guess, readBanner, true},
}

func greet(c *sshtest.Raw) error { return c.Greet("SSH-2.0-raw") }

func propose(c *sshtest.Raw) error {
	if err := errors.Join(greet(c), c.Write(sshtest.Init(sshtest.Curve25519))); err != nil {
		return err
	}
	_, err := c.Await(sshtest.MsgKexInit)
	return err
}

func exchangeKeys(c *sshtest.Raw) error {
	if err := greet(c); err != nil {
		return err
	}
	return c.Keys(sshtest.Curve25519)
}

func handshake(c *sshtest.Raw) error { return c.Handshake("SSH-2.0-raw", sshtest.Curve25519) }

func guess(c *sshtest.Raw) error {
	if err := handshake(c); err != nil {
		return err
	}
	_, err := c.Password("guest", "wrong")
	return err
}

func greetAndRead(c *sshtest.Raw) (string, error) {
	_ = greet(c) // reads the version line, and may fail to send its own
	return readDisconnect(c)
}

func startAndReadBanner(c *sshtest.Raw) (string, error) {
	if err := c.Service("ssh-userauth"); err != nil {
		return "", err
	}
	return readBanner(c)
}

func readDisconnect(c *sshtest.Raw) (string, error) {
	_, err := c.Await()
	var received *sshtest.Disconnected
	if !errors.As(err, &received) || received.Reason != 12 {
		return "", err
	}
	return received.Message, nil
}

func readBanner(c *sshtest.Raw) (string, error) {
	packet, err := c.Await(sshtest.MsgUserauthBanner)
	if err != nil {
		return "", err
	}
	var msg struct {
		Text     string `sshtype:"53"`
		Language string
	}
	err = gossh.Unmarshal(packet, &msg)
	return strings.TrimSuffix(msg.Text, "\r\n"), err
}

// An evicted client receives the reason at every stage. The connection closes immediately after an SSH_MSG_DISCONNECT.
// After a banner it closes once the client has sent something more, or after a second: otherwise x/crypto's client would
// find the connection closed before it reads the banner.
func TestLimitsReasonOfEviction(t *testing.T) {
	for name, tt := range evictions {
		for _, answers := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, answers %t", name, answers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					table := newTable(func(cfg *limits.Config) { cfg.MaxUnauthenticated = 1 })
					srv := newServer(t, middleware.Limits(table), passwordLayer(func(_, password string) bool { return password == "right" }), middleware.Handler("test", whoami))
					c := sshtest.NewRaw(sshtest.Connect(t, srv))
					if err := tt.begin(c); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					sshtest.Connect(t, srv)
					synctest.Wait()
					began := time.Now()
					words, err := tt.receive(c)
					if want := refusals["busy"].words; words != want || err != nil {
						t.Fatalf("received %q, error %v", words, err)
					}
					wait := time.Duration(0)
					switch {
					case answers:
						_ = c.Write([]byte{sshtest.MsgIgnore})
					case tt.inBanner:
						wait = time.Second
					}
					if _, err := c.Read(); err != io.EOF || time.Since(began) != wait {
						t.Errorf("disconnected with %v after %s, want EOF after %s", err, time.Since(began), wait)
					}
				})
			})
		}
	}
}

// takePlace connects another client, which evicts the first one, and disconnects it.
func takePlace(t testing.TB, srv *sshtest.Server, table *limits.Table) {
	t.Helper()
	before := table.Counters.Counts()[counters.Unauthenticated]
	sshtest.Eventually(t, "the first client has no place", func() bool { conns, _ := table.Len(); return conns == 1 })
	other := srv.DialTCP(t)
	sshtest.Eventually(t, "the first client was not evicted", func() bool { return table.Counters.Counts()[counters.Unauthenticated] > before })
	_ = other.Close()
	empty(t, table)
}

// OpenSSH shows the reason to a person who is evicted while they type their password.
func TestLimitsReasonAtThePrompt(t *testing.T) {
	program := openSSH(t)
	table := newTable(func(cfg *limits.Config) { cfg.MaxUnauthenticated = 1 })
	srv := sshtest.Serve(t, middleware.Limits(table), passwordLayer(func(_, _ string) bool { return true }), middleware.Handler("test", whoami))
	dir := t.TempDir()
	typing, typed := filepath.Join(dir, "typing"), filepath.Join(dir, "typed")
	person := filepath.Join(dir, "person")
	script := fmt.Sprintf("#!/bin/sh\n: >%s\nwhile [ ! -e %s ]; do sleep 0.01; done\necho right\n", typing, typed)
	if err := os.WriteFile(person, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(srv.Address)
	cmd := exec.CommandContext(t.Context(), program, "-F", "none", "-o", "PreferredAuthentications=password",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", port, "guest@"+host)
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+person, "SSH_ASKPASS_REQUIRE=force")
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sshtest.Eventually(t, "ssh does not ask for the password", func() bool { _, err := os.Stat(typing); return err == nil })
	takePlace(t, srv, table)
	if err := os.WriteFile(typed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(output.String(), refusals["busy"].words+"\r\nConnection closed by ") {
		t.Errorf("ssh exits with %v and prints %q", err, output.String())
	}
}

// openSSH returns the path of the ssh client.
func openSSH(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("ssh")
	sshtest.Need(t, "ssh", "apt-get install openssh-client", err == nil)
	return path
}
