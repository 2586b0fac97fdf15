// Foyer is an SSH front door: it finds out who is there, tells them what they need to know, and shows them out.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), newRoot()))
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
	root.AddCommand(serveCommand(cfg), userCommand(cfg), hostkeyCommand(cfg), checkCommand(cfg), limitsTopic())
	return root
}

// arguments checks that a command was given what its usage names, one argument for each word after its own.
func arguments(cmd *cobra.Command, args []string) error {
	switch want := strings.Fields(cmd.Use)[1:]; {
	case len(args) == len(want):
		return nil
	case len(want) == 0:
		return cli.Usage(fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()))
	default:
		return cli.Usage(fmt.Errorf("%s takes one argument, %s, and was given %d", cmd.CommandPath(), want[0], len(args)))
	}
}
