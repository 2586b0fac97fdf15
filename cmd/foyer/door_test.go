package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// process is a foyer that runs in a process of its own, on a free port of loopback.
type process struct {
	dir            string // its working directory, with ssh_config and door.log
	card           string // what it announced
	port, password string
	cmd            *exec.Cmd
	exited         chan error
	knocked        atomic.Int64 // connections that came to be accepted
}

// sshConfig makes "ssh -F ssh_config door" come to the door. None of the machine's own files are read.
const sshConfig = `
Host door
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

// startDoor starts foyer in a new directory and ends it with the test, when it has to exit with status 0.
func startDoor(t *testing.T, args ...string) *process {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	door, err := start(dir, nil, args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := door.stop(os.Interrupt); err != nil {
			t.Errorf("foyer exited with %v", err)
		}
		if t.Failed() {
			t.Logf("the log:\n%s", door.log(t))
		}
	})
	return door
}

// start starts foyer in dir and waits until it has announced itself.
func start(dir string, env, args []string) (*process, error) {
	cmd := exec.Command(os.Args[0], append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	cmd.Args[0] = "foyer" // TestMain sees by this name which program it is
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	log, err := os.OpenFile(filepath.Join(dir, "door.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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
	err = p.meet(stdout)
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		p.exited <- cmd.Wait()
	}()
	if err != nil {
		p.kill()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("foyer did not announce itself: %w\n%s%s", err, p.card, text)
	}
	return p, nil
}

// meet reads the announcement, which ends with its second empty line, and takes from it how to come in.
func (p *process) meet(announcement io.Reader) error {
	lines := bufio.NewScanner(announcement)
	for strings.Count(p.card, "\n\n") < 2 {
		if !lines.Scan() {
			return errors.Join(io.ErrUnexpectedEOF, lines.Err())
		}
		p.card += lines.Text() + "\n"
	}
	p.port = tryLine.FindStringSubmatch(p.card)[1]
	if match := passwordLine.FindStringSubmatch(p.card); match != nil {
		p.password = match[1]
	}
	config := fmt.Sprintf(sshConfig, p.port, filepath.Join(p.dir, "known_hosts"))
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

// log returns what the log says so far.
func (p *process) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "door.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stop sends a signal and returns how foyer exited.
func (p *process) stop(signal os.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case err := <-p.exited:
		return err
	case <-time.After(30 * time.Second):
		p.kill()
		return fmt.Errorf("foyer goes on after the signal %q", signal)
	}
}

func (p *process) kill() { _ = p.cmd.Process.Kill() }
