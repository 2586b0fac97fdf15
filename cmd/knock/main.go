// Knock knocks on SSH doors: it opens real logins, many of them, and measures what they cost. It works against any
// SSH server, and refuses one that is not on loopback unless its owner says so.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
)

func main() {
	// The server shares the machine: a few MiB more for the visitors cost less than collecting their garbage often.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	os.Exit(cli.Run(context.Background(), newRoot()))
}

const about = "knock opens real SSH logins, one after the other and many at a time, and measures them: TCP, key exchange,\n" +
	"authentication, session, shell, reading to the end, closing. It exits 0 only if all of them succeeded; a run that\n" +
	"was interrupted is judged by what was done until then.\n\n" +
	"With --pid or --cgroup it also says what a login costs the server. The password is asked for, or comes from\n" +
	"--password-file or, where no --key is named, $KNOCK_PASSWORD. The port is 22 unless it is there; an IPv6 address\n" +
	"stands in brackets.\n\n" +
	"On loopback the host key is not checked. Elsewhere it has to be in the known hosts, and knock goes there only\n" +
	"with --i-own-this-host: what it does to a server is what an attack does."

// newRoot returns the command "knock", which is "knock login" and has the other commands below it.
func newRoot() *cobra.Command {
	root := loginCommand()
	root.Use = "knock USER@HOST:PORT"
	root.Short = "Measure the logins of an SSH server"
	root.Long = about
	root.Example = "knock guest@localhost:2022\n" +
		"knock guest@localhost:2022 --key id_ed25519 -c 64 -d 30s --pid $(pgrep -nx foyer)\n" +
		"knock guest@localhost:2022 --rate 200\n" +
		"knock hold 1000 guest@localhost:2022 --pid $(pgrep -nx foyer)\n" +
		"knock compare a=guest@localhost:2022,pid=123 b=guest@localhost:2222,pid=456"
	root.AddCommand(loginCommand(), holdCommand(), preauthCommand(), compareCommand())
	return root
}

// errUnsuccessful is the end of a measurement that is told in full by its report.
var errUnsuccessful = errors.New("not every login succeeded")

// errNothing is the end of a measurement that was over before it had begun.
var errNothing = errors.New("nothing was measured")

// arguments checks that a command was given between least and most arguments; most of -1 sets no limit.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		_, takes, _ := strings.Cut(cmd.Use, " ")
		return cli.Usage(fmt.Errorf("%s takes %s, and was given %d", cmd.CommandPath(), takes, len(args)))
	}
}
