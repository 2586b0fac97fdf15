// Knock measures SSH servers: it makes many real logins and reports how long they take and what they cost the server.
// It works with any SSH server. It refuses addresses other than loopback unless the owner of the server allows them.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
)

func main() { os.Exit(cli.Run(context.Background(), newRoot())) }

const about = `knock makes real SSH logins, many at a time, and measures them: TCP, key exchange, authentication,
session, shell, reading to the end, closing. It exits 0 only if every login succeeded. Ctrl-C ends a measurement early;
the report and the exit status are then about the logins until then.

With --pid it also reports what a login costs the server. knock asks for the password, unless it comes from
--password-file or $KNOCK_PASSWORD, or --key is given. The default port is 22. An IPv6 address stands in brackets.

On loopback the host key is not checked. A server elsewhere needs --host-key, and knock connects to it only with
--i-own-this-host, because its load looks like an attack.`

// newRoot returns the command "knock", which measures logins, with the other commands below it.
func newRoot() *cobra.Command {
	root := loginCommand()
	root.Long = about
	root.Example = `knock guest@localhost:2022
knock guest@localhost:2022 --key id_ed25519 -c 64 -d 30s --pid $(pgrep -nx foyer)
knock guest@localhost:2022 --rate 200
knock hold 1000 guest@localhost:2022 --pid $(pgrep -nx foyer)
knock compare a=guest@localhost:2022,pid=123 b=guest@localhost:2222,pid=456`
	root.AddCommand(holdCommand(), preauthCommand(), compareCommand())
	return root
}

// arguments checks the number of arguments; a most of -1 means no limit.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		_, takes, _ := strings.Cut(cmd.Use, " ")
		return cli.Usage(fmt.Errorf("%s takes %s, but got %d arguments", cmd.CommandPath(), takes, len(args)))
	}
}
