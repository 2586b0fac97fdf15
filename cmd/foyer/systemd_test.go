//go:build !windows

package main

import (
	"fmt"
	"net"
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

// asService returns the command that runs foyer with a socket that systemd has opened.
func asService(t *testing.T, dir string, socket *os.File, args ...string) *exec.Cmd {
	t.Helper()
	program := filepath.Join(dir, "foyer")
	if err := os.Symlink(os.Args[0], program); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	const script = `LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=ssh exec "$0" "$@"`
	cmd := exec.Command("sh", append([]string{"-c", script, program}, args...)...)
	cmd.Dir, cmd.ExtraFiles = dir, []*os.File{socket}
	return cmd
}

// While knock logs in, the service is restarted 20 times. systemd keeps the port open, so that no connection is refused and
// no login is lost.
func TestRestartsRefuseNobody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	dir, knock := privateDir(t), func() {}
	for i := range 20 {
		m := newManager(t)
		log := filepath.Join(dir, fmt.Sprintf("log%d", i))
		service := asService(t, dir, socket, "--open", "--penalty-exempt", "127.0.0.0/8", "--log", log)
		service.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path)
		if err := service.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = service.Process.Kill() })
		m.hear(t, "^READY=1")
		if i == 0 {
			knock = startKnock(t, "guest@"+listener.Addr().String())
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
