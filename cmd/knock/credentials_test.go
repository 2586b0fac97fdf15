//go:build !windows

package main

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	gossh "golang.org/x/crypto/ssh"

	"foyer/cmd/cli"
)

func TestCredentials(t *testing.T) {
	path, public := keyFile(t)
	otherKey, _ := keyFile(t)
	withPassword := (&fake{password: "secret"}).open(t)
	withKey := (&fake{key: public}).open(t)
	for _, tt := range []struct {
		name     string
		server   *fake
		variable string
		args     []string
		status   int
	}{
		{"password file", withPassword, "", []string{"--password-file", write(t, "password", "secret\r\nmore\n")}, 0},
		{"environment", withPassword, "secret", nil, 0},
		{"file before environment", withPassword, "wrong", []string{"--password-file", write(t, "password", "secret")}, 0},
		{"wrong password", withPassword, "wrong", nil, 1},
		{"key", withKey, "", []string{"--key", path}, 0},
		{"key and password", withPassword, "", []string{"--key", path, "--password-file", write(t, "password", "secret")}, 0},
		{"key, not environment", withPassword, "secret", []string{"--key", path}, 1},
		{"wrong key", withKey, "", []string{"--key", otherKey}, 1},
		{"none", withKey, "", []string{"--open"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(passwordVariable, tt.variable)
			got := knock(t, append([]string{tt.server.target(), "-n", "2"}, tt.args...)...)
			got.check(t, tt.status)
			if tt.status != 0 {
				got.check(t, tt.status, "2 failed: authentication: unable to authenticate")
			}
		})
	}
}

// knock asks for a password only if everything else is valid.
func TestPrompt(t *testing.T) {
	t.Setenv(passwordVariable, "")
	f := (&fake{password: "secret"}).open(t)
	asked := 0
	s := newSettings()
	s.prompt = func(string) (string, error) { asked++; return "secret", nil }
	srv, err := s.open(t.Context(), f.target())
	if err != nil || asked != 1 {
		t.Fatalf("asked %d times: %v", asked, err)
	}
	if got := login(t, srv); got.err != nil {
		t.Error(got.err)
	}
	s.expect = "missing"
	if _, err := s.open(t.Context(), f.target()); err == nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

func TestEmptyPassword(t *testing.T) {
	t.Setenv(passwordVariable, "")
	s := newSettings()
	s.prompt = func(string) (string, error) { return "", nil }
	_, err := s.open(t.Context(), new(fake).open(t).target())
	if !cli.IsUsage(err) || !strings.Contains(cli.Hint(err), "--open") {
		t.Error(err)
	}
}

// Ctrl-C at the prompt ends knock.
func TestInterruptPrompt(t *testing.T) {
	t.Setenv(passwordVariable, "")
	target := new(fake).open(t).target()
	for name, args := range map[string][]string{
		"login": {target}, "hold": {"hold", "1", target}, "compare": {"compare", "a=" + target, "b=" + target},
	} {
		t.Run(name, func(t *testing.T) {
			keyboard, terminal, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _, _ = keyboard.Close(), terminal.Close() }()
			cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "knock", args...)
			cmd.Stdin, cmd.SysProcAttr = terminal, &syscall.SysProcAttr{Setsid: true, Setctty: true}
			log := start(t, cmd)
			eventually(t, func() bool { return strings.Contains(log.String(), "Password for") })
			if _, err := keyboard.WriteString("\x03"); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func TestHostKey(t *testing.T) {
	f := new(fake).open(t)
	right, wrong := gossh.FingerprintSHA256(f.hostKey.PublicKey()), gossh.FingerprintSHA256(signer(t).PublicKey())
	knock(t, f.target(), "--open", "-n1", "--host-key", right).check(t, 0)
	got := knock(t, f.target(), "--open", "-n1", "--host-key", wrong)
	got.check(t, 1, "1 failed: key exchange: the host key is "+right)
}
