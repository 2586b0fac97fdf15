//go:build !windows

package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

// httpOf returns the address of a server's HTTP listener.
func httpOf(t *testing.T, srv *process) string {
	t.Helper()
	logged(t, srv, `msg="http listening"`)
	return regexp.MustCompile(`msg="http listening" addr=(\S+)`).FindStringSubmatch(srv.log(t))[1]
}

// get returns the status and the body of a page.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// withoutEngine takes the engine from a server, which has blocked 127.0.0.2, and gives it back.
func withoutEngine(t *testing.T, a *process, r *sshtest.Redis) {
	t.Helper()
	r.Stop()
	logged(t, a, `level=warn msg="penalties are not shared"`)
	metrics := "http://" + httpOf(t, a)
	if status, _ := get(t, metrics+"/readyz"); status != http.StatusOK {
		t.Errorf("/readyz answers %d", status)
	}
	if _, text := get(t, metrics+"/metrics"); !strings.Contains(text, "\nfoyer_share_up 0\n") {
		t.Error("/metrics has no foyer_share_up 0")
	}
	for range 20 {
		if err := loginFrom(t, "127.0.0.3", "127.0.0.1:"+a.port, "guest", gossh.Password(a.password)); err != nil {
			t.Fatal(err)
		}
	}
	if loginFrom(t, "127.0.0.2", "127.0.0.1:"+a.port, "guest", gossh.Password(a.password)) == nil {
		t.Error("the block is forgotten")
	}
	r.Start()
	logged(t, a, `level=info msg="sharing penalties again"`, "duration=")
	sshtest.Eventually(t, "foyer_share_up is not 1", func() bool {
		_, text := get(t, metrics+"/metrics")
		return strings.Contains(text, "\nfoyer_share_up 1\n")
	})
}

// Two servers share penalties in an engine with a password. While it is gone, visitors get in as before and the servers stay
// ready; the log and the metrics say so. Nothing shows the password.
func TestShare(t *testing.T) {
	r := sshtest.StartRedis(t, "--requirepass", "hunter2")
	proxy := sshtest.StartProxy(t, "unix", r.Socket)
	password := filepath.Join(privateDir(t), "password")
	if err := os.WriteFile(password, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--http", ":0", "--share", "redis://" + proxy.Address, "--share-password-file", password, "--log-format", "logfmt"}
	a, b := startServer(t, args...), startServer(t, args...)
	for _, srv := range []*process{a, b} {
		logged(t, srv, `msg="sharing penalties"`, "addr=redis://"+proxy.Address)
	}
	for _, srv := range []*process{a, b, a, b} {
		_ = loginFrom(t, "127.0.0.2", "127.0.0.1:"+srv.port, "guest", gossh.Password("wrong"))
	}
	for _, srv := range []*process{a, b} {
		sshtest.Eventually(t, "the right password is accepted", func() bool {
			return loginFrom(t, "127.0.0.2", "127.0.0.1:"+srv.port, "guest", gossh.Password(srv.password)) != nil
		})
		logged(t, srv, `msg="source blocked" addr=127.0.0.2/32`, "reason=elsewhere")
	}

	withoutEngine(t, a, r)
	if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	logged(t, a, `msg="settings reloaded"`)
	if strings.Contains(a.log(t), "hunter2") {
		t.Error("the password is in the log")
	}
}

// A server that is told to stop is not ready, and accepts visitors until balancers know it.
func TestDrainDelay(t *testing.T) {
	srv, err := start(privateDir(t), nil, []string{"--open", "--http", ":0", "--drain-delay", "2s"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.kill)
	metrics := "http://" + httpOf(t, srv)
	sshtest.Eventually(t, "not ready", func() bool { status, _ := get(t, metrics+"/readyz"); return status == http.StatusOK })
	if err := srv.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	sshtest.Eventually(t, "still ready", func() bool { status, _ := get(t, metrics+"/readyz"); return status != http.StatusOK })
	if err := loginFrom(t, "127.0.0.2", "127.0.0.1:"+srv.port, "guest", gossh.Password("")); err != nil {
		t.Error(err)
	}
	if err := sshtest.Receive(t, srv.exited); err != nil {
		t.Error(err)
	}
}

// foyerIn returns what a command of foyer prints in a server's directory.
func foyerIn(t *testing.T, srv *process, args ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Args[0], cmd.Dir = "foyer", srv.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("foyer %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// reads waits until a visitor reads a text.
func reads(t *testing.T, srv *process, want string) {
	t.Helper()
	sshtest.Eventually(t, "a visitor does not read "+want, func() bool {
		client, err := gossh.Dial("tcp", "127.0.0.1:"+srv.port, &gossh.ClientConfig{User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey()})
		if err != nil {
			return false
		}
		defer func() { _ = client.Close() }()
		return strings.Contains(sshtest.Run(t, client, sshtest.Visit{}).Stdout, want)
	})
}

// One command closes all servers that share, and another opens them. A file closes one of them; status says which is which.
func TestShareMaintenance(t *testing.T) {
	r := sshtest.StartRedis(t)
	url := "unix://" + r.Socket
	a, b := startServer(t, "--open", "--share", url), startServer(t, "--open", "--share", url)
	everywhere := "(all servers that share in " + url + ")\n"
	if got, want := foyerIn(t, a, "maintenance", "on", "--share", url, "--text", "Back soon."), "maintenance is on "+everywhere; got != want {
		t.Errorf("on: %q, want %q", got, want)
	}
	for _, srv := range []*process{a, b} {
		reads(t, srv, "Back soon.")
		logged(t, srv, `msg="maintenance on" shared=true`)
	}
	foyerIn(t, a, "maintenance", "on", "--share", url, "--local", "--text", "Only here.")
	reads(t, a, "Only here.")
	reads(t, b, "Back soon.")
	if got, want := foyerIn(t, a, "maintenance", "status", "--share", url), "maintenance is on (maintenance.json)\nmaintenance is on "+everywhere; got != want {
		t.Errorf("status: %q, want %q", got, want)
	}
	if got, want := foyerIn(t, a, "maintenance", "off", "--share", url), "maintenance is off\n"; got != want {
		t.Errorf("off: %q, want %q", got, want)
	}
	reads(t, a, "very simple")
	reads(t, b, "very simple")
}
