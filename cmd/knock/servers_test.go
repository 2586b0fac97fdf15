package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

// server is a real server in a process of its own.
type server struct {
	user, port, key, password string
	pid                       int
}

func (s *server) target() string { return s.user + "@127.0.0.1:" + s.port }

// begin starts a program that ends with the test, and returns what it says.
func begin(t *testing.T, cmd *exec.Cmd) (*sshtest.Log, *exec.Cmd) {
	t.Helper()
	said := sshtest.NewLog()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Args[0], said)
		}
	})
	return said, cmd
}

// listening waits until somebody takes connections on the port.
func listening(t *testing.T, port string) {
	t.Helper()
	until(t, func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// freePort is for servers that have to be told one.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// installed finds a program, also where only root looks for it.
func installed(t *testing.T, name, remedy string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	sshtest.Need(t, name, remedy, err == nil)
	return path
}

// authorized makes a key and a line for authorized_keys.
func authorized(t *testing.T) (path string, line []byte) {
	t.Helper()
	path, public := keyFile(t)
	return path, gossh.MarshalAuthorizedKey(public)
}

// foyer is the door that this repository is about.
func foyer(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "foyer")
	if out, err := exec.Command("go", "build", "-o", program, "../foyer").CombinedOutput(); err != nil {
		t.Fatalf("build foyer: %v\n%s", err, out)
	}
	key, line := authorized(t)
	if err := os.Mkdir(filepath.Join(dir, "authorized_keys.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "authorized_keys.d", "guest"), line, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--listen", "127.0.0.1:0")
	cmd.Dir = dir
	said, _ := begin(t, cmd)
	port := regexp.MustCompile(`-p (\d+)`).FindStringSubmatch(said.Line(t, "ssh -p"))[1]
	password := regexp.MustCompile(`password +(\S+)`).FindStringSubmatch(said.Line(t, "password  "))[1]
	return &server{"guest", port, key, password, cmd.Process.Pid}
}

// sshd is OpenSSH's, as it is for whoever runs the test.
func sshd(t *testing.T) *server {
	t.Helper()
	program := installed(t, "sshd", "apt-get install openssh-server")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" {
		// What a service manager makes for it: without this directory it does not start.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir, port := t.TempDir(), freePort(t)
	hostKey, _ := keyFile(t)
	key, line := authorized(t)
	files := map[string]string{
		"authorized_keys": string(line),
		"message":         message,
		"sshd_config": fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %s\nAuthorizedKeysFile %s/authorized_keys\n"+
			"StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 1000\n"+
			"ForceCommand cat %s/message\n", port, hostKey, dir, dir),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, cmd := begin(t, exec.Command(program, "-D", "-e", "-f", filepath.Join(dir, "sshd_config")))
	listening(t, port)
	return &server{me.Username, port, key, "", cmd.Process.Pid}
}

// TestServers knocks on what people have.
func TestServers(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(*testing.T) *server
		says string
	}{
		{"foyer", foyer, "SSH-2.0-"},
		{"sshd", sshd, "SSH-2.0-OpenSSH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.open(t)
			flags := []string{"--key", s.key, "--pid", strconv.Itoa(s.pid), "--json"}
			got := knock(t, append(flags, s.target(), "-n", "24", "--expect", write(t, "expected", message))...)
			var report loginReport
			if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.status != 0 {
				t.Fatalf("status %d, %v:\n%s%s", got.status, err, got.stdout, got.stderr)
			}
			if report.Logins != 24 || report.Latency.FirstByte.Count != 24 || !contains(report.Door.Version, tt.says) {
				t.Errorf("%s", got.stdout)
			}
			if server := report.Server; *server.PerLogin <= 0.1 || server.Memory.Before < 1<<20 {
				t.Errorf("%+v", server)
			}
			for _, mode := range []string{"hold", "preauth"} {
				got := knock(t, append(flags, mode, "12", s.target(), "--for", "0s")...)
				var held holdReport
				if err := json.Unmarshal([]byte(got.stdout), &held); err != nil || got.status != 0 || held.Opened != 12 {
					t.Fatalf("status %d, %v:\n%s%s", got.status, err, got.stdout, got.stderr)
				}
				if tt.name == "sshd" && *held.Memory.Each < 100<<10 { // it has a process for each
					t.Errorf("%s: %+v", mode, held.Memory)
				}
			}
		})
	}
}

// TestFoyerPassword: the first login costs a hash, and is made like the others.
func TestFoyerPassword(t *testing.T) {
	s := foyer(t)
	t.Setenv(passwordVariable, s.password)
	expected := write(t, "expected", message)
	if got := knock(t, s.target(), "-n", "10", "-c", "2", "--expect", expected); got.status != 0 {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
	t.Setenv(passwordVariable, "wrong")
	if got := knock(t, s.target(), "-n", "1"); got.status != 1 || !contains(got.stdout, "1  authentication: ") {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
}

// TestDropbear can go no further than the door, since dropbear reads the keys of real users only.
func TestDropbear(t *testing.T) {
	program := installed(t, "dropbear", "apt-get install dropbear-bin")
	maker := installed(t, "dropbearkey", "apt-get install dropbear-bin")
	hostKey, port := filepath.Join(t.TempDir(), "key"), freePort(t)
	if out, err := exec.Command(maker, "-t", "ed25519", "-f", hostKey).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	begin(t, exec.Command(program, "-F", "-E", "-s", "-r", hostKey, "-p", "127.0.0.1:"+port, "-P", filepath.Join(t.TempDir(), "pid")))
	listening(t, port)
	key, _ := keyFile(t)
	target := "nobody@127.0.0.1:" + port
	if got := knock(t, target, "--key", key, "-n", "2"); got.status != 1 || !contains(got.stdout, "2  authentication: ") {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
	if got := knock(t, "preauth", "4", target, "--for", "0s"); got.status != 0 || !contains(got.stdout, "4 of 4 connections opened") {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
}
