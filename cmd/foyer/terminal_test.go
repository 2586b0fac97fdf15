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

// What a person at a terminal sees, to the byte and in this order.
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
			door := startDoor(t, tt.flags...)
			seen, status := atTerminal(t, door, door.ssh(t, "door")).end()
			between(t, seen, "guest@localhost's password: \r\n"+tt.head, message+goodbye)
			if status != 0 {
				t.Errorf("exit status %d", status)
			}
		})
	}
}

// between checks how what a visitor saw begins and ends. Whoever adds a layer of their own adds it to the end of the
// list, and what it says stands in between.
func between(t *testing.T, seen, head, tail string) {
	t.Helper()
	if !strings.HasPrefix(seen, head) || !strings.HasSuffix(seen[len(head):], tail) {
		t.Errorf("saw:\n%q\nwant:\n%q", seen, head+tail)
	}
}

// colour is how the greeting is set off on a terminal of 256 colours.
func colour(line string) string {
	return "\x1b[1;38;5;173m" + strings.TrimSuffix(line, "\r\n") + "\x1b[m\r\n"
}

// Somebody who sends stdout or stderr elsewhere gets the message and nothing else on the one, all the rest on the other.
func TestStreamsAtTerminal(t *testing.T) {
	door := startDoor(t)
	for _, tt := range []struct{ name, flag, head, tail string }{
		{"a PTY was asked for", "-oRequestTTY=auto", refusal + notice + greeting, goodbye},
		{"none was asked for", "-T", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			cmd := door.ssh(t, tt.flag, "door")
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_, status := atTerminal(t, door, cmd).end()
			between(t, stderr.String(), tt.head, tt.tail)
			if stdout.String() != message || tt.head == "" && stderr.Len() > 0 || status != 0 {
				t.Errorf("stdout %q, stderr %q, status %d", &stdout, &stderr, status)
			}
		})
	}
}

// One connection carries many sessions, one after another and at once. Each gets its own answer, and the connection
// outlives them all.
func TestMultiplexing(t *testing.T) {
	door := startDoor(t)
	socket := "-oControlPath=" + filepath.Join(t.TempDir(), "mux")
	master := atTerminal(t, door, door.ssh(t, "-M", "-N", socket, "door"))
	t.Cleanup(func() { _ = master.cmd.Process.Kill() })
	connected := func() bool { return door.ssh(t, "-O", "check", socket, "door").Run() == nil }
	for tries := 0; !connected(); tries++ {
		if tries == 1000 {
			t.Fatal("the master did not connect")
		}
	}
	check := func() {
		seen, _ := atTerminal(t, nil, door.ssh(t, socket, "door")).end()
		between(t, seen, "PTY allocation request failed\r\n"+notice+greeting, message+"Shared connection to localhost closed.\r\n")
		var stdout, stderr bytes.Buffer
		plain := door.ssh(t, "-T", socket, "door")
		plain.Stdout, plain.Stderr = &stdout, &stderr
		if err := plain.Run(); err != nil || stdout.String() != message || stderr.Len() > 0 {
			t.Errorf("without a terminal: stdout %q, stderr %q, %v", &stdout, &stderr, err)
		}
		if err := door.ssh(t, socket, "door", "uname").Run(); err == nil {
			t.Error("a command has exit status 0")
		}
	}
	check()
	check()
	var all sync.WaitGroup
	for range 4 { // sshd allows ten sessions at once
		all.Go(func() {
			var stdout bytes.Buffer
			plain := door.ssh(t, "-T", socket, "door")
			plain.Stdout = &stdout
			if err := plain.Run(); err != nil || stdout.String() != message {
				t.Errorf("one of many: stdout %q, %v", &stdout, err)
			}
		})
	}
	all.Wait()
	if !connected() {
		t.Error("the connection is gone")
	}
	if err := door.ssh(t, "-O", "exit", socket, "door").Run(); err != nil {
		t.Error(err)
	}
	master.end()
}

// ssh returns a command that trusts the door's host key and tells all that it tells a person.
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

// atTerminal starts cmd at a terminal and types the door's password when it is asked for; door is nil where it is not.
func atTerminal(t *testing.T, door *process, cmd *exec.Cmd) *terminal {
	t.Helper()
	cmd.Env = []string{"TERM=xterm-256color", "PATH=" + os.Getenv("PATH")}
	screen, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	term := &terminal{cmd: cmd, screen: screen}
	if door == nil {
		return term
	}
	for b := make([]byte, 1); !bytes.HasSuffix(term.seen.Bytes(), []byte("password: ")); {
		if _, err := screen.Read(b); err != nil {
			t.Fatalf("nobody asked for a password: %v\n%s", err, &term.seen)
		}
		term.seen.Write(b)
	}
	_, _ = io.WriteString(screen, door.password+"\n")
	return term
}

// end waits for the program to exit and returns all that the person has seen, and the exit status.
func (term *terminal) end() (string, int) {
	_, _ = io.Copy(&term.seen, term.screen) // ends in EIO, when nobody has the terminal open any more
	_ = term.cmd.Wait()
	// A terminal that ssh has left as it was adds a carriage return of its own to each \r\n; nobody sees it.
	seen := strings.ReplaceAll(term.seen.String(), "\r\r\n", "\r\n")
	return strings.TrimPrefix(seen, "\r"), term.cmd.ProcessState.ExitCode()
}
