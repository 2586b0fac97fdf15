package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"
	gossh "golang.org/x/crypto/ssh"

	"foyer/hostkeys"
	"foyer/middleware/sshtest"
)

const (
	message = "This session is very simple.  Goodbye!\r\n"
	notice  = "Nothing is broken: you are connected, but this server provides no terminals.\r\n" +
		"Use `ssh -T` to connect without the message above.\r\n"
	greeting = "Welcome, guest. This server has no shell.\r\n"
	refusal  = "PTY allocation request failed on channel 0\r\n" // ssh's own
	goodbye  = "Connection to localhost closed.\r\n"            // ssh's own
)

// A person at a terminal sees exactly these bytes, in this order.
func TestTranscript(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags []string
		head  string
	}{
		{"the PTY is refused", nil, refusal + notice + greeting},
		{"the PTY is granted", []string{"--pty", "accept"}, colour(greeting)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := startServer(t, tt.flags...)
			seen, status := atTerminal(t, srv, srv.ssh(t, "server")).end()
			between(t, seen, "guest@localhost's password: \r\n"+tt.head, message+goodbye)
			if status != 0 {
				t.Errorf("exit status %d", status)
			}
		})
	}
}

// between checks the head and the tail of an output. Layers that are added to the list write their output in between.
func between(t *testing.T, seen, head, tail string) {
	t.Helper()
	if !strings.HasPrefix(seen, head) || !strings.HasSuffix(seen[len(head):], tail) {
		t.Errorf("saw:\n%q\nwant:\n%q", seen, head+tail)
	}
}

// colour returns the greeting as it is styled for a terminal with 256 colours.
func colour(line string) string {
	return "\x1b[1;38;5;173m" + strings.TrimSuffix(line, "\r\n") + "\x1b[m\r\n"
}

// With stdout and stderr redirected, stdout has the message and nothing else, and stderr has the rest.
func TestStreamsAtTerminal(t *testing.T) {
	srv := startServer(t)
	for _, tt := range []struct{ name, flag, head, tail string }{
		{"with a PTY request", "-oRequestTTY=auto", refusal + notice + greeting, goodbye},
		{"without a PTY request", "-T", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			cmd := srv.ssh(t, tt.flag, "server")
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_, status := atTerminal(t, srv, cmd).end()
			between(t, stderr.String(), tt.head, tt.tail)
			if stdout.String() != message || tt.head == "" && stderr.Len() > 0 || status != 0 {
				t.Errorf("stdout %q, stderr %q, status %d", &stdout, &stderr, status)
			}
		})
	}
}

// One connection has many sessions, sequential and concurrent. Each receives its own answer, and the connection stays open.
func TestMultiplexing(t *testing.T) {
	srv := startServer(t)
	socket := "-oControlPath=" + filepath.Join(t.TempDir(), "mux")
	master := atTerminal(t, srv, srv.ssh(t, "-M", "-N", socket, "server"))
	t.Cleanup(func() { _ = master.cmd.Process.Kill() })
	connected := func() bool { return srv.ssh(t, "-O", "check", socket, "server").Run() == nil }
	sshtest.Eventually(t, "the master does not connect", connected)
	check := func() {
		seen, _ := atTerminal(t, nil, srv.ssh(t, socket, "server")).end()
		between(t, seen, "PTY allocation request failed\r\n"+notice+greeting, message+"Shared connection to localhost closed.\r\n")
		var stdout, stderr bytes.Buffer
		plain := srv.ssh(t, "-T", socket, "server")
		plain.Stdout, plain.Stderr = &stdout, &stderr
		if err := plain.Run(); err != nil || stdout.String() != message || stderr.Len() > 0 {
			t.Errorf("without a terminal: stdout %q, stderr %q, %v", &stdout, &stderr, err)
		}
		if err := srv.ssh(t, socket, "server", "uname").Run(); err == nil {
			t.Error("a command has exit status 0")
		}
	}
	check()
	check()
	var all sync.WaitGroup
	for range 4 { // sshd allows ten sessions at once
		all.Go(func() {
			var stdout bytes.Buffer
			plain := srv.ssh(t, "-T", socket, "server")
			plain.Stdout = &stdout
			if err := plain.Run(); err != nil || stdout.String() != message {
				t.Errorf("one of several sessions: stdout %q, %v", &stdout, err)
			}
		})
	}
	all.Wait()
	if !connected() {
		t.Error("the connection is closed")
	}
	if err := srv.ssh(t, "-O", "exit", socket, "server").Run(); err != nil {
		t.Error(err)
	}
	master.end()
}

// ssh returns an ssh command that trusts the host key and prints messages from level INFO on.
func (p *process) ssh(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("ssh")
	sshtest.Need(t, "ssh", "apt-get install openssh-client", err == nil)
	keys, err := hostkeys.Load(p.hostKeys())
	if err != nil {
		t.Fatal(err)
	}
	known := fmt.Sprintf("[localhost]:%s %s", p.port, gossh.MarshalAuthorizedKey(keys[0].Signer.PublicKey()))
	if err := os.WriteFile(filepath.Join(p.dir, "known_hosts"), []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	return exec.Command(path, append([]string{"-F", filepath.Join(p.dir, "ssh_config"), "-o", "LogLevel=INFO"}, args...)...)
}

// terminal is a program at a real terminal, of 80 columns and 256 colours.
type terminal struct {
	cmd    *exec.Cmd
	screen *os.File
	seen   bytes.Buffer
}

// atTerminal starts cmd at a terminal, and types the password of srv at the prompt. With srv nil it types nothing.
func atTerminal(t *testing.T, srv *process, cmd *exec.Cmd) *terminal {
	t.Helper()
	cmd.Env = []string{"TERM=xterm-256color", "PATH=" + os.Getenv("PATH")}
	screen, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	term := &terminal{cmd: cmd, screen: screen}
	if srv == nil {
		return term
	}
	for b := make([]byte, 1); !bytes.HasSuffix(term.seen.Bytes(), []byte("password: ")); {
		if _, err := screen.Read(b); err != nil {
			t.Fatalf("no password prompt: %v\n%s", err, &term.seen)
		}
		term.seen.Write(b)
	}
	_, _ = io.WriteString(screen, srv.password+"\n")
	return term
}

// end waits for the program to exit, and returns the output on the screen and the exit status.
func (term *terminal) end() (string, int) {
	_, _ = io.Copy(&term.seen, term.screen) // ends with EIO when no process has the terminal open
	_ = term.cmd.Wait()
	// A terminal that ssh has not set to raw mode adds a carriage return to each \r\n, which is not visible.
	seen := strings.ReplaceAll(term.seen.String(), "\r\r\n", "\r\n")
	return strings.TrimPrefix(seen, "\r"), term.cmd.ProcessState.ExitCode()
}
