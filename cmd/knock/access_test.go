package main

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"foyer/cmd/cli"
)

// keyFile returns the path of a new key, and its public half.
func keyFile(t *testing.T) (string, gossh.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "id_ed25519", string(pem.EncodeToMemory(block))), key
}

func TestAccess(t *testing.T) {
	t.Setenv(passwordVariable, "")
	path, public := keyFile(t)
	stranger, _ := keyFile(t)
	withPassword := (&fake{password: "secret"}).open(t)
	withKey := (&fake{key: public}).open(t)
	for _, tt := range []struct {
		name        string
		door        *fake
		environment string
		args        []string
		status      int
	}{
		{"a password from a file", withPassword, "", []string{"--password-file", write(t, "password", "secret\r\nmore\n")}, 0},
		{"a password from the environment", withPassword, "secret", nil, 0},
		{"the file wins", withPassword, "wrong", []string{"--password-file", write(t, "password", "secret")}, 0},
		{"a wrong password", withPassword, "wrong", nil, 1},
		{"a key", withKey, "", []string{"--key", path}, 0},
		{"a key and a password", withPassword, "", []string{"--key", path, "--password-file", write(t, "password", "secret")}, 0},
		{"a key and no password from the environment", withPassword, "secret", []string{"--key", path}, 1},
		{"a stranger's key", withKey, "", []string{"--key", stranger}, 1},
		{"nothing", withKey, "", []string{"--open"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(passwordVariable, tt.environment)
			got := knock(t, append([]string{tt.door.target(), "-n", "2"}, tt.args...)...)
			if got.status != tt.status {
				t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
			}
			if tt.status != 0 && !strings.Contains(got.stdout, "2  authentication: unable to authenticate") {
				t.Errorf("no reason:\n%s", got.stdout)
			}
		})
	}
}

// TestPrompt: a person is asked when nothing else says how to get in, and not before.
func TestPrompt(t *testing.T) {
	f := (&fake{password: "secret"}).open(t)
	asked := 0
	s := newSettings()
	s.timeout, s.environment = patience, func(string) string { return "" }
	s.prompt = func(user string) (string, error) {
		if asked++; user != "guest" {
			return "", errors.New("asked " + user)
		}
		return "secret", nil
	}
	d, err := s.door(t.Context(), f.target())
	if err != nil || asked != 1 {
		t.Fatalf("asked %d times: %v", asked, err)
	}
	if got := login(t, d); got.err != nil {
		t.Error(got.err)
	}
	s.kex = []string{"rot13"}
	if _, err := s.door(t.Context(), f.target()); err == nil || asked != 1 {
		t.Errorf("asked %d times, though %v", asked, err)
	}
}

// TestEmptyAnswer: who types nothing does not go on without a password.
func TestEmptyAnswer(t *testing.T) {
	s := newSettings()
	s.timeout, s.environment = patience, func(string) string { return "" }
	s.prompt = func(string) (string, error) { return "", nil }
	_, err := s.door(t.Context(), new(fake).open(t).target())
	if !cli.IsUsage(err) || !contains(cli.Hint(err), "--open") {
		t.Error(err)
	}
}

// TestCtrlCAtThePrompt: the first one ends knock.
func TestCtrlCAtThePrompt(t *testing.T) {
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
			cmd := exec.Command("knock", args...)
			cmd.Stdin, cmd.SysProcAttr = terminal, &syscall.SysProcAttr{Setsid: true, Setctty: true}
			said, _ := begin(t, cmd)
			until(t, func() bool { return contains(said.String(), "Password for") })
			if _, err := keyboard.WriteString("\x03"); err != nil {
				t.Fatal(err)
			}
			var end *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &end) || end.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// TestKnownHosts: on loopback the host key matters only where a file is named, and elsewhere always.
func TestKnownHosts(t *testing.T) {
	f, other := new(fake).open(t), signer(t)
	known := write(t, "known", knownhosts.Line([]string{f.address}, f.hostKey.PublicKey())+"\n")
	impostor := write(t, "impostor", knownhosts.Line([]string{f.address}, other.PublicKey())+"\n")
	empty := write(t, "empty", "")
	for _, tt := range []struct {
		name            string
		file            string
		loopback, blind bool
		problem         string // of the door
		reason          string // of the login
	}{
		{"loopback", "", true, false, "", ""},
		{"loopback, known", known, true, false, "", ""},
		{"loopback, an impostor", impostor, true, false, "", "key exchange: the host key is not the one in the known hosts"},
		{"elsewhere, known", known, false, false, "", ""},
		{"elsewhere, an impostor", impostor, false, false, "", "key exchange: the host key is not the one in the known hosts"},
		{"elsewhere, unknown", empty, false, false, "is not in", ""},
		{"elsewhere, no file", empty + ".missing", false, false, "read the known hosts", ""},
		{"elsewhere, blind", "", false, true, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, d := newSettings(), f.door(t)
			s.knownHosts, s.insecure = tt.file, tt.blind
			d.config.HostKeyCallback = nil
			err := s.identify(d, tt.loopback)
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := login(t, d)
			if got.err == nil && tt.reason != "" || got.err != nil && got.err.Error() != tt.reason {
				t.Errorf("%v, want %q", got.err, tt.reason)
			}
		})
	}
}

// TestKnownHostsAndAlgorithms: of the host keys that are known one is asked for, unless another is by name.
func TestKnownHostsAndAlgorithms(t *testing.T) {
	f := (&fake{alsoRSA: true}).open(t)
	ofRSA := write(t, "known", knownhosts.Line([]string{f.address}, rsaSigner().PublicKey())+"\n")
	for algorithm, reason := range map[string]string{"": "", "rsa-sha2-256": "", "ssh-ed25519": "key exchange: the host key is not the one in the known hosts"} {
		s := newSettings()
		s.open, s.timeout, s.knownHosts = true, patience, ofRSA
		if algorithm != "" {
			s.hostKeys = []string{algorithm}
		}
		d, err := s.door(t.Context(), f.target())
		if err != nil {
			t.Fatal(err)
		}
		if got := login(t, d); got.err == nil && reason != "" || got.err != nil && got.err.Error() != reason {
			t.Errorf("%q: %v", algorithm, got.err)
		}
	}
}

// TestHomeKnownHosts: elsewhere the file is the user's own, unless another is named.
func TestHomeKnownHosts(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	f := new(fake).open(t)
	if err := newSettings().identify(f.door(t), false); err == nil || !strings.Contains(err.Error(), ".ssh/known_hosts") {
		t.Error(err)
	}
}
