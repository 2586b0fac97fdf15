// Package cli runs command lines. It prints errors with a hint, and its exit status distinguishes usage errors from
// others.
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

// Run executes a command line and returns the exit status: 0, 1 for an error, or 2 for a usage error.
func Run(ctx context.Context, root *cobra.Command) int {
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			err = fmt.Errorf("--%s: %w", invalid.GetFlag().Name, Unfit(err))
		}
		return Usage(err)
	})
	checkHelpTopic(root)
	err := fang.Execute(ctx, root, fang.WithErrorHandler(func(w io.Writer, _ fang.Styles, err error) {
		printError(w, called(root).CommandPath(), err)
	}))
	switch {
	case err == nil:
		return 0
	case IsUsage(err):
		return 2
	}
	return 1
}

// checkHelpTopic makes "help" fail for an unknown command. cobra's shows the help of another command.
func checkHelpTopic(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "help" {
			continue
		}
		cmd.Args = func(_ *cobra.Command, args []string) error {
			if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
				return Misuse("run: "+root.CommandPath()+" --help", "unknown command %q", strings.Join(args, " "))
			}
			return nil
		}
	}
}

// called returns the command that was called: cmd or one of its subcommands.
func called(cmd *cobra.Command) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if at := called(sub); at.CalledAs() != "" {
			return at
		}
	}
	return cmd
}

// With returns err with a hint that says how to fix it.
func With(err error, hint string) error { return hinted{err, hint} }

// Usage returns err as a usage error. Its hint is the command's help, unless err has a hint.
func Usage(err error) error { return usage{err} }

// Misuse returns a usage error with a hint.
func Misuse(hint, format string, args ...any) error {
	return Usage(With(fmt.Errorf(format, args...), hint))
}

// Unfit replaces a parser's error about the value of a flag with one for the operator. It returns other errors unchanged.
func Unfit(err error) error {
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	_, notNumber := errors.AsType[*strconv.NumError](err)
	switch value, cause := invalid.GetValue(), invalid.Unwrap(); {
	case invalid.GetFlag().Value.Type() == "bool":
		return fmt.Errorf("%q is not true or false", value)
	case notNumber:
		return fmt.Errorf("%q is not a number or is too large", value)
	case strings.HasPrefix(cause.Error(), "time: "):
		return fmt.Errorf("%q is not a duration like 30s or 5m", value)
	default:
		return cause
	}
}

// IsUsage reports whether err is a usage error.
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

// printError prints an error and its hint. fang removes the colours if w is not a terminal.
func printError(w io.Writer, command string, err error) {
	_, _ = fmt.Fprintln(w, errorLabel, err)
	if hint := Hint(err); hint != "" {
		_, _ = fmt.Fprintln(w, hintLabel, hint)
	} else if IsUsage(err) {
		_, _ = fmt.Fprintln(w, hintLabel, "run:", command, "--help")
	}
}

// Hint returns the hint of err, which is an error of With or any other one with a method Hint, or "".
func Hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
