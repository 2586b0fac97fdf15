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

// turnedAway are servers with no room, and what they say.
var turnedAway = map[string]struct {
	fill   func(testing.TB, *sshtest.Server, *middleware.Stack)
	reason uint32
	words  string
}{
	"busy": {func(t testing.TB, srv *sshtest.Server, _ *middleware.Stack) { enter(t, srv, "guest") },
		12, "too many visitors at the moment, please try again in a minute"},
	"draining": {func(_ testing.TB, _ *sshtest.Server, stack *middleware.Stack) {
		now, cancel := context.WithDeadline(context.Background(), time.Now())
		defer cancel()
		stack.Drain(now, "")
	},
		7, "this server is closing, please come back later"},
}

// Who is not let in is told why, in a form that clients show, and one that has spoken already is, too: its words are
// heard out, or the answer would be lost in a reset.
func TestLimitsSayWhy(t *testing.T) {
	for name, tt := range turnedAway {
		t.Run(name, func(t *testing.T) {
			table := limited(func(cfg *limits.Config) { cfg.Max = 1 })
			stack := middleware.NewStack(middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami))
			srv := sshtest.Start(t, stack.Install)
			tt.fill(t, srv, stack)

			_, err := srv.Dial("guest", "")
			if err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("x/crypto's client says %v", err)
			}
			for range 50 {
				c := sshtest.NewRaw(srv.DialTCP(t))
				_, _ = io.WriteString(c.Conn, "SSH-2.0-raw\r\n"+string(sshtest.Unencrypted(sshtest.Init(sshtest.Curve25519))))
				toldWhy(t, c, tt.reason, tt.words)
			}
		})
	}
}

// toldWhy checks that a client which has said its version line is told why it is not let in, and no more.
func toldWhy(t *testing.T, c *sshtest.Raw, reason uint32, words string) {
	t.Helper()
	var told *sshtest.Disconnected
	err := c.Greet("")
	if err == nil {
		_, err = c.Await(sshtest.MsgKexInit)
	}
	if !errors.As(err, &told) || told.Reason != reason || told.Message != words {
		t.Errorf("told %v", err)
	}
	if _, err := c.Read(); err != io.EOF {
		t.Errorf("hung up on with %v", err)
	}
}

// OpenSSH shows the words.
func TestLimitsSayWhyToOpenSSH(t *testing.T) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("there is no ssh here")
	}
	for name, tt := range turnedAway {
		t.Run(name, func(t *testing.T) {
			table := limited(func(cfg *limits.Config) { cfg.Max = 1 })
			stack := middleware.NewStack(middleware.Limits(table), middleware.Open(), middleware.Handler("test", whoami))
			srv := sshtest.Start(t, stack.Install)
			tt.fill(t, srv, stack)
			host, port, _ := net.SplitHostPort(srv.Address)
			visit := exec.CommandContext(t.Context(), program, "-F", "none", "-o", "BatchMode=yes", "-p", port, host)
			said, err := visit.CombinedOutput()
			want := fmt.Sprintf("Received disconnect from %s port %s:%d: %s", host, port, tt.reason, tt.words)
			if err == nil || !strings.Contains(string(said), want) {
				t.Errorf("ssh says %q, want %q", said, want)
			}
		})
	}
}

// sentOff are clients that have come so far when another one takes their place, and how they come to hear of it.
var sentOff = map[string]struct {
	come func(*sshtest.Raw) error
	hear func(*sshtest.Raw) (words string, err error)

	inBanner bool
}{
	"a silent one":     {func(*sshtest.Raw) error { return nil }, atFirst, false},
	"with its version": {greet, disconnected, false},
	"with a KEXINIT":   {propose, disconnected, false},
	"with keys":        {exchangeKeys, atLast, true},
	"at the prompt":    {handshake, warned, true},
	"after a password": {guess, warned, true},
}

func greet(c *sshtest.Raw) error { return c.Greet("SSH-2.0-raw") }

func propose(c *sshtest.Raw) error {
	_ = greet(c)
	_ = c.Write(sshtest.Init(sshtest.Curve25519))
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
	_ = handshake(c)
	_, err := c.Password("guest", "wrong")
	return err
}

func atFirst(c *sshtest.Raw) (string, error) {
	_ = greet(c)
	return disconnected(c)
}

func atLast(c *sshtest.Raw) (string, error) {
	_ = c.Service("ssh-userauth")
	return warned(c)
}

func disconnected(c *sshtest.Raw) (string, error) {
	_, err := c.Await()
	var told *sshtest.Disconnected
	if !errors.As(err, &told) || told.Reason != 12 {
		return "", err
	}
	return told.Message, nil
}

func warned(c *sshtest.Raw) (string, error) {
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

// Who has to go for another is told why, however far they have come. The end comes at once behind an SSH_MSG_DISCONNECT,
// and behind a banner once the client has said something more, or after a second: x/crypto's finds the end before it has
// looked at the banner.
func TestLimitsSayWhoHasToGoWhy(t *testing.T) {
	for name, tt := range sentOff {
		for _, answers := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, answers %t", name, answers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					table := limited(func(cfg *limits.Config) { cfg.MaxUnauthenticated = 1 })
					srv := newServer(t, middleware.Limits(table), checks(func(_, password string) bool { return password == "right" }), middleware.Handler("test", whoami))
					c := sshtest.NewRaw(sshtest.Connect(t, srv))
					if err := tt.come(c); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					sshtest.Connect(t, srv)
					synctest.Wait()
					began := time.Now()
					words, err := tt.hear(c)
					if want := turnedAway["busy"].words; words != want || err != nil {
						t.Fatalf("told %q, error %v", words, err)
					}
					wait := time.Duration(0)
					switch {
					case answers:
						_ = c.Write([]byte{sshtest.MsgIgnore})
					case tt.inBanner:
						wait = time.Second
					}
					if _, err := c.Read(); err != io.EOF || time.Since(began) != wait {
						t.Errorf("hung up on with %v, after %s", err, time.Since(began))
					}
				})
			})
		}
	}
}

// takePlace returns when another client has taken the only place, and has left it.
func takePlace(t testing.TB, srv *sshtest.Server, table *limits.Table) {
	t.Helper()
	before := table.Counters.Counts()[counters.Unauthenticated]
	sshtest.Eventually(t, "the first client has no place", func() bool { conns, _ := table.Len(); return conns == 1 })
	other := srv.DialTCP(t)
	sshtest.Eventually(t, "the first client was not evicted", func() bool { return table.Counters.Counts()[counters.Unauthenticated] > before })
	_ = other.Close()
	empty(t, table)
}

// OpenSSH shows it to a person who has to go while they type their password.
func TestLimitsSayWhyAtThePrompt(t *testing.T) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("there is no ssh here")
	}
	table := limited(func(cfg *limits.Config) { cfg.MaxUnauthenticated = 1 })
	srv := sshtest.Serve(t, middleware.Limits(table), checks(func(_, _ string) bool { return true }), middleware.Handler("test", whoami))
	dir := t.TempDir()
	typing, typed := filepath.Join(dir, "typing"), filepath.Join(dir, "typed")
	person := filepath.Join(dir, "person")
	script := fmt.Sprintf("#!/bin/sh\n: >%s\nwhile [ ! -e %s ]; do sleep 0.01; done\necho right\n", typing, typed)
	if err := os.WriteFile(person, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(srv.Address)
	visit := exec.CommandContext(t.Context(), program, "-F", "none", "-o", "PreferredAuthentications=password",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", port, "guest@"+host)
	visit.Env = append(os.Environ(), "SSH_ASKPASS="+person, "SSH_ASKPASS_REQUIRE=force")
	var said strings.Builder
	visit.Stdout, visit.Stderr = &said, &said
	if err := visit.Start(); err != nil {
		t.Fatal(err)
	}
	sshtest.Eventually(t, "ssh does not ask for the password", func() bool { _, err := os.Stat(typing); return err == nil })
	takePlace(t, srv, table)
	if err := os.WriteFile(typed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := visit.Wait(); err == nil || !strings.Contains(said.String(), turnedAway["busy"].words+"\r\nConnection closed by ") {
		t.Errorf("ssh ends with %v and says %q", err, said.String())
	}
}
