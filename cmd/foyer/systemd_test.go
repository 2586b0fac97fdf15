//go:build !windows

package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"foyer/middleware/sshtest"

	gossh "golang.org/x/crypto/ssh"
)

// manager is the socket on which systemd hears of a service.
type manager struct {
	*net.UnixConn
	path string
}

func newManager(t *testing.T) manager {
	t.Helper()
	m := manager{path: filepath.Join(t.TempDir(), "notify")}
	var err error
	if m.UnixConn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// hear waits for a message that matches.
func (m manager) hear(t *testing.T, pattern string) {
	t.Helper()
	_ = m.SetReadDeadline(time.Now().Add(sshtest.Patience))
	for buf := make([]byte, 1024); ; {
		n, err := m.Read(buf)
		if err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		if regexp.MustCompile(pattern).Match(buf[:n]) {
			return
		}
	}
}

// systemd hears when the server is ready, reloads, is alive and stops.
func TestNotify(t *testing.T) {
	m := newManager(t)
	srv, err := start(t.TempDir(), []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=400000"}, []string{"--open"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.kill)
	m.hear(t, `^READY=1\nSTATUS=visitors now: 0, blocked sources: 0$`)
	m.hear(t, `^STATUS=visitors now: \d, blocked sources: 0\nWATCHDOG=1$`)
	if err := srv.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.hear(t, `^RELOADING=1\nMONOTONIC_USEC=\d+$`)
	m.hear(t, `^READY=1$`)
	if err := srv.stop(os.Interrupt); err != nil {
		t.Error(err)
	}
	m.hear(t, `^STOPPING=1$`)
	if log := srv.log(t); strings.Contains(log, "conn=") {
		t.Errorf("the watchdog is in the log:\n%s", log)
	}
}

// asService returns the command that runs foyer with sockets that systemd has opened, under names like "ssh:http".
func asService(t *testing.T, dir, names string, sockets []*os.File, args ...string) *exec.Cmd {
	t.Helper()
	program := filepath.Join(dir, "foyer")
	if err := os.Symlink(os.Args[0], program); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=%s exec "$0" "$@"`, len(sockets), names)
	cmd := exec.Command("sh", append([]string{"-c", script, program}, args...)...)
	cmd.Dir, cmd.ExtraFiles = dir, sockets
	return cmd
}

// systemdSocket returns the address of a port that stays open, and its descriptor.
func systemdSocket(t *testing.T) (address string, socket *os.File) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if socket, err = listener.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = listener.Close(), socket.Close() })
	return listener.Addr().String(), socket
}

// The socket with the name http is for metrics and health checks, and no port for SSH.
func TestSocketsByName(t *testing.T) {
	m := newManager(t)
	sshAddress, sshSocket := systemdSocket(t)
	httpAddress, httpSocket := systemdSocket(t)
	service := asService(t, privateDir(t), "http:ssh", []*os.File{httpSocket, sshSocket}, "--open")
	service.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path)
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Process.Kill(); _ = service.Wait() })
	m.hear(t, "^READY=1")
	client, err := gossh.Dial("tcp", sshAddress, &gossh.ClientConfig{User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	sshtest.Eventually(t, "the server is not ready", func() bool {
		answer, err := http.Get("http://" + httpAddress + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		return errors.Join(err, answer.Body.Close()) == nil && answer.StatusCode == http.StatusOK
	})
}

// While knock logs in, the service is restarted 20 times. systemd keeps the port open, so that no connection is refused and
// no login is lost.
func TestRestartsRefuseNobody(t *testing.T) {
	address, socket := systemdSocket(t)
	dir, knock := privateDir(t), func() {}
	for i := range 20 {
		m := newManager(t)
		log := filepath.Join(dir, fmt.Sprintf("log%d", i))
		service := asService(t, dir, "ssh", []*os.File{socket}, "--open", "--penalty-exempt", "127.0.0.0/8", "--log", log)
		service.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path)
		if err := service.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = service.Process.Kill() })
		m.hear(t, "^READY=1")
		if i == 0 {
			knock = startKnock(t, "guest@"+address)
		}
		sshtest.Eventually(t, "too few logins", func() bool {
			text, err := os.ReadFile(log)
			return err == nil && strings.Count(string(text), "session closed") >= 20
		})
		if i == 19 {
			knock()
		}
		if err := service.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := service.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// A server that systemd-socket-activate starts uses its socket, and not the default port.
func TestSocketActivation(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	sshtest.Need(t, "systemd-socket-activate", "apt-get install systemd", err == nil)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	dir := privateDir(t)
	program := filepath.Join(dir, "foyer")
	if err := os.Symlink(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(activate, "--listen="+address, "--fdname=ssh", program, "--open", "--log", filepath.Join(dir, "log"), "--hostkeys", filepath.Join(dir, "keys"))
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	sshtest.Eventually(t, "nobody gets in", func() bool {
		client, err := gossh.Dial("tcp", address, &gossh.ClientConfig{User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey()})
		if err == nil {
			_ = client.Close()
		}
		return err == nil
	})
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(log); !strings.Contains(text, "msg=listening addr="+address) || strings.Contains(text, ":2022") {
		t.Errorf("the log is\n%s", text)
	}
}
