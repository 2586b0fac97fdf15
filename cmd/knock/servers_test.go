package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

// realServer is an SSH server in a process of its own.
type realServer struct {
	user, port, key, password string
	pid                       int
}

func (s *realServer) target() string { return s.user + "@127.0.0.1:" + s.port }

// start starts a program that ends with the test, and returns its output.
func start(t *testing.T, cmd *exec.Cmd) *sshtest.Log {
	t.Helper()
	log := sshtest.NewLog()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the output of %s:\n%s", cmd.Args[0], log)
		}
	})
	return log
}

// awaitPort waits until a server accepts connections on the port.
func awaitPort(t *testing.T, port string) {
	t.Helper()
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// freePort returns a port for a server that cannot choose one.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// installed returns the path of a program, which may be in a directory that only root has in PATH.
func installed(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	sshtest.Need(t, name, install, err == nil)
	return path
}

// authorized makes a key and its line for authorized_keys.
func authorized(t *testing.T) (path string, line []byte) {
	t.Helper()
	path, public := keyFile(t)
	return path, gossh.MarshalAuthorizedKey(public)
}

// foyer starts the server of this repository.
func foyer(t *testing.T) *realServer {
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
	log := start(t, cmd)
	port := regexp.MustCompile(`-p (\d+)`).FindStringSubmatch(log.Line(t, "ssh -p"))[1]
	password := regexp.MustCompile(`password +(\S+)`).FindStringSubmatch(log.Line(t, "password  "))[1]
	return &realServer{"guest", port, key, password, cmd.Process.Pid}
}

// sshd starts OpenSSH's server as the user of the test.
func sshd(t *testing.T) *realServer {
	t.Helper()
	program := installed(t, "sshd", "apt-get install openssh-server")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" {
		// Without this directory, which a service manager makes, it does not start.
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
	cmd := exec.Command(program, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	start(t, cmd)
	awaitPort(t, port)
	return &realServer{me.Username, port, key, "", cmd.Process.Pid}
}

// knock works with real servers.
func TestServers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		start   func(*testing.T) *realServer
		version string
	}{
		{"foyer", foyer, "SSH-2.0-"},
		{"sshd", sshd, "SSH-2.0-OpenSSH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.start(t)
			flags := []string{"--key", s.key, "--pid", strconv.Itoa(s.pid)}
			m := knockJSON(t, 0, append(flags, s.target(), "-n", "4", "--expect", write(t, "expected", message))...)
			if m.Logins != 4 || len(m.Latency) != int(phases) || !strings.HasPrefix(m.Server.Version, tt.version) {
				t.Errorf("%+v", m)
			}
			if m.Usage.CPU <= 0 || m.Usage.MemoryBefore < 1<<20 {
				t.Errorf("%+v", m.Usage)
			}
			for mode := range modes {
				m := knockJSON(t, 0, append(flags, mode, "12", s.target(), "--for", "0s")...)
				if m.Logins != 12 || m.Dropped != 0 {
					t.Errorf("%+v", m)
				}
				each := m.Usage.MemoryEach
				if tt.name == "sshd" && (each == nil || *each < 100<<10) { // it has a process for each connection
					t.Errorf("%s: %+v", mode, m.Usage)
				}
			}
		})
	}
}

func TestFoyerPassword(t *testing.T) {
	s := foyer(t)
	t.Setenv(passwordVariable, s.password)
	knock(t, s.target(), "-n", "10", "-c", "2", "--expect", write(t, "expected", message)).check(t, 0, "10 logins in")
	t.Setenv(passwordVariable, "wrong")
	knock(t, s.target(), "-n", "1").check(t, 1, "1 failed: authentication: ")
}

// dropbear accepts keys of real users only, so knock cannot log in here.
func TestDropbear(t *testing.T) {
	program := installed(t, "dropbear", "apt-get install dropbear-bin")
	keygen := installed(t, "dropbearkey", "apt-get install dropbear-bin")
	hostKey, port := filepath.Join(t.TempDir(), "key"), freePort(t)
	if out, err := exec.Command(keygen, "-t", "ed25519", "-f", hostKey).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	start(t, exec.Command(program, "-F", "-E", "-s", "-r", hostKey, "-p", "127.0.0.1:"+port,
		"-P", filepath.Join(t.TempDir(), "pid")))
	awaitPort(t, port)
	key, _ := keyFile(t)
	target := "nobody@127.0.0.1:" + port
	knock(t, target, "--key", key, "-n", "2").check(t, 1, "2 failed: authentication: ")
	knock(t, "preauth", "4", target, "--for", "0s").check(t, 0, "4 connections opened")
}
