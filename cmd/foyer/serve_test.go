//go:build !windows

package main

import (
	"foyer/middleware/sshtest"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// A second signal ends foyer immediately, even where sessions are open.
func TestSecondSignal(t *testing.T) {
	srv, err := start(t.TempDir(), nil, []string{"--open", "--hostkeys", "keys"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.kill)
	client, err := gossh.Dial("tcp", "127.0.0.1:"+srv.port, &gossh.ClientConfig{
		User: "guest", HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.OpenChannel("session", nil); err != nil { // the session makes no request
		t.Fatal(err)
	}
	if err := srv.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	sshtest.Eventually(t, "foyer does not log the first signal", func() bool { return strings.Contains(srv.log(t), "closing") })
	for _, other := range []os.Signal{syscall.SIGHUP, syscall.SIGUSR1} { // they are for a server that serves
		if err := srv.cmd.Process.Signal(other); err != nil {
			t.Fatal(err)
		}
	}
	err = srv.stop(os.Interrupt)
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

// A server that is asked to reload without end still stops when it is told to.
func TestStopAmongReloads(t *testing.T) {
	srv, err := start(privateDir(t), nil, []string{"--open"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.kill)
	for range 1000 {
		if err := srv.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if err := srv.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		_ = srv.cmd.Process.Signal(syscall.SIGHUP) // it may have ended
	}
	_ = sshtest.Receive(t, srv.exited) // a SIGHUP that comes after the end has no handler
	if log := srv.log(t); !strings.Contains(log, "msg=closed") {
		t.Errorf("the log is\n%s", log)
	}
}
