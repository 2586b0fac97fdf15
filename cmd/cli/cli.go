// Package remedy is how the house's commands end: every error is told with what to do about it, and the exit status says
// whose it was.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"charm.land/fang/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Run executes a command line and returns the exit status: 0, 1 for what went wrong, 2 for what was typed wrong.
func Run(ctx context.Context, root *cobra.Command) int {
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if unfit, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			err = fmt.Errorf("--%s: %w", unfit.GetFlag().Name, Unfit(err))
		}
		return Usage(err)
	})
	refuseUnknownTopics(root)
	err := fang.Execute(ctx, root, fang.WithErrorHandler(func(w io.Writer, _ fang.Styles, err error) {
		explain(w, called(root).CommandPath(), err)
	}))
	switch {
	case err == nil:
		return 0
	case IsUsage(err):
		return 2
	}
	return 1
}

// refuseUnknownTopics has "help" fail where there is no such command: cobra's helps with another one.
func refuseUnknownTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "help" {
			continue
		}
		cmd.Args = func(_ *cobra.Command, args []string) error {
			if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
				return Misuse("run: "+root.CommandPath()+" --help", "there is no command %q", strings.Join(args, " "))
			}
			return nil
		}
	}
}

// called returns the command that was called: it, or one of its subcommands.
func called(cmd *cobra.Command) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if at := called(sub); at.CalledAs() != "" {
			return at
		}
	}
	return cmd
}

// With returns err as one that comes with something to do about it.
func With(err error, hint string) error { return hinted{err, hint} }

// Usage returns err as a mistake in how the command was called. Its hint points to that command's help, unless err knows
// better.
func Usage(err error) error { return usage{err} }

// Misuse returns a mistake in how the command was called, with something to type instead.
func Misuse(hint, format string, args ...any) error {
	return Usage(With(fmt.Errorf(format, args...), hint))
}

// Unfit says why a flag cannot have its value, in words for whoever typed it: the library's are those of its parsers. An
// error of another kind is returned as it is.
func Unfit(err error) error {
	unfit, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	_, notNumber := errors.AsType[*strconv.NumError](err)
	switch value, why := unfit.GetValue(), unfit.Unwrap(); {
	case unfit.GetFlag().Value.Type() == "bool":
		return fmt.Errorf("%q is neither true nor false", value)
	case notNumber:
		return fmt.Errorf("%q is not a number, or too large", value)
	case strings.HasPrefix(why.Error(), "time: "):
		return fmt.Errorf("%q is not a time like 30s or 5m", value)
	default:
		return why
	}
}

// IsUsage reports whether err is a mistake in how the command was called.
func IsUsage(err error) bool {
	_, is := errors.AsType[usage](err)
	return is
}

type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }
func (e hinted) Hint() string  { return e.hint }

type usage struct{ error }

func (e usage) Unwrap() error { return e.error }

var (
	errorLabel = ansi.NewStyle().Bold().ForegroundColor(ansi.Red).Styled("error:")
	hintLabel  = ansi.NewStyle().Bold().ForegroundColor(ansi.Cyan).Styled("hint:")
)

// explain prints an error: the problem, then what to do about it. fang takes the colours out where w is not a terminal.
func explain(w io.Writer, command string, err error) {
	_, _ = fmt.Fprintln(w, errorLabel, err)
	if hint := Hint(err); hint != "" {
		_, _ = fmt.Fprintln(w, hintLabel, hint)
	} else if IsUsage(err) {
		_, _ = fmt.Fprintln(w, hintLabel, "run:", command, "--help")
	}
}

// Hint returns what err says is to be done about it, be it an error of With or any other that has a Hint, or nothing.
func Hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
