package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"foyer/middleware/sshtest"
)

// process is a foyer process that listens on a free port of loopback.
type process struct {
	dir            string // its working directory, with ssh_config and server.log
	announcement   string
	port, password string
	cmd            *exec.Cmd
	exited         chan error
	dialed         atomic.Int64 // the number of connections from login and dial
}

// sshConfig makes "ssh -F ssh_config server" connect to the process. ssh reads none of the machine's own files.
const sshConfig = `
Host server
	HostName localhost
	AddressFamily inet
	Port %s
	User guest
	UserKnownHostsFile %s
	GlobalKnownHostsFile none
	StrictHostKeyChecking accept-new
	IdentityFile none
	PreferredAuthentications publickey,password
	IdentitiesOnly yes
	NumberOfPasswordPrompts 1
	LogLevel ERROR
`

var (
	tryLine      = regexp.MustCompile(`(?m)^  try +ssh -p (\d+) `)
	passwordLine = regexp.MustCompile(`(?m)^  password +(\S+)$`)
)

// startServer starts foyer in a new directory and stops it when the test ends. It must exit with status 0.
func startServer(t *testing.T, args ...string) *process {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	srv, err := start(dir, nil, args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.stop(os.Interrupt); err != nil {
			t.Errorf("foyer exited with %v", err)
		}
		if t.Failed() {
			t.Logf("the log:\n%s", srv.log(t))
		}
	})
	return srv
}

// start starts foyer in dir and waits for its announcement. Unless args name a file of settings, it listens on loopback.
func start(dir string, env, args []string) (*process, error) {
	if !slices.Contains(args, "--config") {
		args = append([]string{"--listen", "127.0.0.1:0"}, args...)
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Args[0] = "foyer" // TestMain selects the program by this name
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	log, err := os.OpenFile(filepath.Join(dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{dir: dir, cmd: cmd, exited: make(chan error, 1)}
	err = p.readAnnouncement(stdout)
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		p.exited <- cmd.Wait()
	}()
	if err != nil {
		p.kill()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("no announcement: %w\n%s%s", err, p.announcement, text)
	}
	return p, nil
}

// readAnnouncement reads the announcement up to its second empty line, and takes the port and the password from it.
func (p *process) readAnnouncement(stdout io.Reader) error {
	lines := bufio.NewScanner(stdout)
	for strings.Count(p.announcement, "\n\n") < 2 {
		if !lines.Scan() {
			return errors.Join(io.ErrUnexpectedEOF, lines.Err())
		}
		p.announcement += lines.Text() + "\n"
	}
	if match := tryLine.FindStringSubmatch(p.announcement); match != nil {
		p.port = match[1]
	}
	if match := passwordLine.FindStringSubmatch(p.announcement); match != nil {
		p.password = match[1]
	}
	config := fmt.Sprintf(sshConfig, cmp.Or(p.port, "22"), filepath.Join(p.dir, "known_hosts"))
	return os.WriteFile(filepath.Join(p.dir, "ssh_config"), []byte(config), 0o600)
}

// hostKeys returns the directory of the host keys.
func (p *process) hostKeys() string {
	for i, arg := range p.cmd.Args {
		if arg == "--hostkeys" {
			return p.cmd.Args[i+1]
		}
	}
	return filepath.Join(p.dir, "hostkeys")
}

// log returns the log so far.
func (p *process) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stop sends a signal, waits for foyer to exit, and returns its exit error.
func (p *process) stop(signal os.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case err := <-p.exited:
		return err
	case <-time.After(sshtest.Patience):
		p.kill()
		return fmt.Errorf("foyer does not exit after the signal %q", signal)
	}
}

func (p *process) kill() { _ = p.cmd.Process.Kill() }
