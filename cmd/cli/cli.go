// Package cli runs command lines. It prints errors with a hint, and its exit status distinguishes usage errors from
// others.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/charmbracelet/colorprofile"
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
	root.SilenceUsage, root.SilenceErrors = true, true
	info, _ := debug.ReadBuildInfo()
	root.Version = version(info)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetHelpFunc(help)
	root.AddCommand(manCommand())
	root.InitDefaultCompletionCmd()
	prepare(root)
	err := root.ExecuteContext(ctx)
	if err != nil {
		printError(colorprofile.NewWriter(root.ErrOrStderr(), os.Environ()), called(root).CommandPath(), err)
	}
	switch {
	case err == nil:
		return 0
	case IsUsage(err):
		return 2
	}
	return 1
}

// prepare keeps the order of the flags, and has the shell complete the values of those that have a list of them.
func prepare(cmd *cobra.Command) {
	cmd.Flags().SortFlags, cmd.PersistentFlags().SortFlags = false, false
	if cmd.Name() == "completion" {
		cmd.Short = "Print the script with which a shell completes the command line"
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if choice, ok := f.Value.(interface{ Choices() []string }); ok {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(choice.Choices(), cobra.ShellCompDirectiveNoFileComp))
		}
	})
	for _, sub := range cmd.Commands() {
		prepare(sub)
	}
}

// version returns what was built: a module's version if "go install" has fetched it, and otherwise the revision and when it
// was committed; and with which Go.
func version(info *debug.BuildInfo) string {
	settings := map[string]string{}
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	text := "of an unknown revision"
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		text = info.Main.Version
	}
	if revision := settings["vcs.revision"]; revision != "" {
		text = fmt.Sprintf("%.12s of %.10s", revision, settings["vcs.time"])
	}
	if settings["vcs.modified"] == "true" {
		text += ", with changes"
	}
	return text + ", built with " + info.GoVersion
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
	return BadValue(invalid.GetFlag().Value, invalid.GetValue(), invalid.Unwrap())
}

// BadValue replaces the error with which the Set of a value refuses a text with one for the operator.
func BadValue(value pflag.Value, text string, cause error) error {
	_, notNumber := errors.AsType[*strconv.NumError](cause)
	switch {
	case value.Type() == "bool":
		return fmt.Errorf("%q is not true or false", text)
	case notNumber:
		return fmt.Errorf("%q is not a number or is too large", text)
	case strings.HasPrefix(cause.Error(), "time: "):
		return fmt.Errorf("%q is not a duration like 30s or 5m", text)
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

// printError prints an error with its hint, without colours if w is not a terminal. An error that joins several is printed as
// several.
func printError(w io.Writer, command string, err error) {
	for _, err := range Each(err) {
		printOne(w, command, err)
	}
}

func printOne(w io.Writer, command string, err error) {
	_, _ = fmt.Fprintln(w, errorLabel, err)
	if excerpt := Excerpt(err); excerpt != "" {
		_, _ = fmt.Fprintln(w, excerpt)
	}
	if hint := Hint(err); hint != "" {
		_, _ = fmt.Fprintln(w, hintLabel, hint)
	} else if IsUsage(err) {
		_, _ = fmt.Fprintln(w, hintLabel, "run:", command, "--help")
	}
}

// Each returns the errors that [errors.Join] has joined. Any other error is the only one, and nil is none.
func Each(err error) []error {
	several, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case ok && errors.Join(several.Unwrap()...).Error() == err.Error(): // and no sentence with several causes
		return several.Unwrap()
	}
	return []error{err}
}

// Excerpt returns the line of a file that err, an error with a method Excerpt, is about, or "".
func Excerpt(err error) string {
	var e interface{ Excerpt() string }
	if errors.As(err, &e) {
		return e.Excerpt()
	}
	return ""
}

// Hint returns the hint of err, which is an error of With or any other one with a method Hint, or "".
func Hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
