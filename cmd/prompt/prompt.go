// Package prompt asks for passwords at a terminal.
package prompt

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/charmbracelet/x/term"
)

// Possible reports whether stdin is a terminal.
func Possible() bool { return term.IsTerminal(os.Stdin.Fd()) }

// Password writes the question to w and reads a line from the terminal on stdin, without echo.
func Password(w io.Writer, question string) (string, error) {
	defer restoreOnSignal(os.Stdin.Fd())()
	_, _ = fmt.Fprint(w, question)
	password, err := term.ReadPassword(os.Stdin.Fd())
	_, _ = fmt.Fprintln(w)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return string(password), nil
}

// restoreOnSignal restores the terminal if a signal ends the process before done is called. Otherwise the terminal
// would stay without echo.
func restoreOnSignal(terminal uintptr) (done func()) {
	before, err := term.GetState(terminal)
	if err != nil {
		return func() {}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for caught := range signals {
			_ = term.Restore(terminal, before)
			_, _ = fmt.Fprintln(os.Stderr)
			signal.Reset(caught)
			raise(caught)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}
