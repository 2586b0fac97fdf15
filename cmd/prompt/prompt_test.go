//go:build !windows

package prompt_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/charmbracelet/x/term"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"foyer/cmd/prompt"
)

// asker is the variable that makes the test binary ask for a password.
const asker = "FOYER_TEST_PROMPT"

func TestMain(m *testing.M) {
	if os.Getenv(asker) == "" {
		os.Exit(m.Run())
	}
	password, err := prompt.Password(os.Stdout, "Password: ")
	fmt.Printf("%q %v %t\n", password, err, prompt.Possible())
}

// ask starts a process that asks at a terminal, and returns once it reads the answer.
func ask(t *testing.T) (cmd *exec.Cmd, keyboard, terminal *os.File, lines *bufio.Reader) {
	t.Helper()
	keyboard, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = keyboard.Close(), terminal.Close() })
	cmd = exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asker+"=1")
	cmd.Stdin, cmd.SysProcAttr = terminal, &syscall.SysProcAttr{Setsid: true, Setctty: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines = bufio.NewReader(stdout)
	if question, err := lines.ReadString(' '); question != "Password: " {
		t.Fatalf("the question is %q, %v", question, err)
	}
	for echoes(t, terminal) { // the echo is turned off after the question
	}
	return cmd, keyboard, terminal, lines
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := term.GetState(terminal.Fd())
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

func TestPassword(t *testing.T) {
	cmd, keyboard, terminal, lines := ask(t)
	_, _ = keyboard.WriteString("two  words \n")
	_, _ = lines.ReadString('\n')
	if got, err := lines.ReadString('\n'); strings.TrimSpace(got) != `"two  words " <nil> true` {
		t.Errorf("it read %s, %v", got, err)
	}
	if err := cmd.Wait(); err != nil || !echoes(t, terminal) {
		t.Errorf("it ended with %v; echo is on: %t", err, echoes(t, terminal))
	}
}

// A signal ends the process, and leaves the terminal with its echo.
func TestSignalAtThePrompt(t *testing.T) {
	for _, sent := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd, keyboard, terminal, _ := ask(t)
		if sent == syscall.SIGINT {
			_, _ = keyboard.WriteString("\x03")
		} else if err := cmd.Process.Signal(sent); err != nil {
			t.Fatal(err)
		}
		var end *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &end) || end.Sys().(syscall.WaitStatus).Signal() != sent {
			t.Errorf("%s: the process ended with %v", sent, err)
		}
		if !echoes(t, terminal) {
			t.Errorf("%s: echo is off", sent)
		}
	}
}
