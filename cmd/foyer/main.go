// Foyer is an SSH front door: it finds out who is there, tells them what they need to know, and shows them out.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"charm.land/fang/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(context.Background(), newRoot()))
}

// run executes a command line and returns the exit status: 0, 1 for what went wrong, 2 for what was typed wrong.
func run(ctx context.Context, root *cobra.Command) int {
	err := fang.Execute(ctx, root, fang.WithErrorHandler(explain))
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	}
	return 1
}

// newRoot returns the command "foyer", which is "foyer serve" and has the other commands below it.
func newRoot() *cobra.Command {
	cfg := &Config{}
	root := serveCommand(cfg)
	root.Use = "foyer"
	root.Short = "An SSH front door"
	root.Long = "foyer is an SSH front door: it finds out who is there, tells them what they need to know,\n" +
		"and shows them out. Without a command it serves."
	root.Example = "foyer --listen :2022\nfoyer user add alice\nFOYER_LOG_FORMAT=json foyer --pty accept"
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		return fromEnvironment(cmd.Flags(), os.Getenv)
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(serveCommand(cfg), userCommand(cfg), hostkeyCommand(cfg), checkCommand(cfg))
	return root
}

// usageError is a mistake in how foyer was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Hint points to the help, unless the error knows better.
func (e usageError) Hint() string {
	if hint := hintOf(e.error); hint != "" {
		return hint
	}
	return "run: foyer --help"
}

// hinted is an error that comes with something to do about it.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }
func (e hinted) Hint() string  { return e.hint }

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

var (
	errorLabel = ansi.NewStyle().Bold().ForegroundColor(ansi.Red).Styled("error:")
	hintLabel  = ansi.NewStyle().Bold().ForegroundColor(ansi.Cyan).Styled("hint:")
)

// explain is how every error is printed: the problem, then what to do about it. fang takes the colours out where w
// is not a terminal.
func explain(w io.Writer, _ fang.Styles, err error) {
	_, _ = fmt.Fprintln(w, errorLabel, err)
	if hint := hintOf(err); hint != "" {
		_, _ = fmt.Fprintln(w, hintLabel, hint)
	}
}

// arguments checks that a command was given what its usage names, one argument for each word after its own.
func arguments(cmd *cobra.Command, args []string) error {
	switch want := strings.Fields(cmd.Use)[1:]; {
	case len(args) == len(want):
		return nil
	case len(want) == 0:
		return usageError{fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())}
	default:
		return usageError{hinted{
			fmt.Errorf("%s takes one argument, %s, and was given %d", cmd.CommandPath(), want[0], len(args)),
			"run: " + cmd.CommandPath() + " --help",
		}}
	}
}
