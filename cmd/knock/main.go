// Knock knocks on SSH doors: it opens real logins, many of them, and measures what they cost. It works against any
// SSH server, and refuses one that is not on loopback unless its owner says so.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"charm.land/fang/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
)

func main() {
	// The server shares the machine: a few MiB more for the visitors cost less than collecting their garbage often.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	os.Exit(run(context.Background(), newRoot()))
}

// run executes a command line and returns the exit status: 0 where every login succeeded, 1 where one did not or
// something else went wrong, 2 for what was typed wrong.
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

const about = "knock opens real SSH logins, one after the other and many at a time, and measures them: TCP, key exchange,\n" +
	"authentication, session, shell, reading to the end, closing. It exits 0 only if all of them succeeded.\n\n" +
	"With --pid or --cgroup it also says what a login costs the server. The password is asked for, or comes from\n" +
	"--password-file or $KNOCK_PASSWORD. The port is 22 unless it is there; an IPv6 address stands in brackets.\n\n" +
	"On loopback the host key is not checked. Elsewhere it has to be in the known hosts, and knock goes there only\n" +
	"with --i-own-this-host: what it does to a server is what an attack does."

// newRoot returns the command "knock", which is "knock login" and has the other commands below it.
func newRoot() *cobra.Command {
	root := loginCommand()
	root.Use = "knock USER@HOST:PORT"
	root.Short = "Measure the logins of an SSH server"
	root.Long = about
	root.Example = "knock guest@localhost:2022\n" +
		"knock guest@localhost:2022 --key id_ed25519 -c 64 -d 30s --pid $(pgrep -x foyer)\n" +
		"knock guest@localhost:2022 --rate 200 --plot logins.svg\n" +
		"knock hold 1000 guest@localhost:2022 --pid $(pgrep -x foyer)\n" +
		"knock compare a=guest@localhost:2022,pid=123 b=guest@localhost:2222,pid=456"
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(loginCommand(), holdCommand(), preauthCommand(), compareCommand())
	return root
}

// usageError is a mistake in how knock was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Hint points to the help, unless the error knows better.
func (e usageError) Hint() string {
	if hint := hintOf(e.error); hint != "" {
		return hint
	}
	return "run: knock --help"
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

// misuse is a usage error with something to type instead.
func misuse(hint, format string, args ...any) error {
	return usageError{hinted{fmt.Errorf(format, args...), hint}}
}

// errUnsuccessful is the end of a measurement that is told in full by its report.
var errUnsuccessful = errors.New("not every login succeeded")

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

// arguments checks that a command was given between least and most arguments; most of -1 sets no limit.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		return misuse("run: "+cmd.CommandPath()+" --help", "%s was given %d arguments, and its usage is: %s",
			cmd.CommandPath(), len(args), cmd.UseLine())
	}
}
