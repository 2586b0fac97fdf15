// Foyer is an SSH server without a shell. It authenticates visitors, shows them a message and closes the session.
//
// It is made for Linux. Elsewhere these things differ:
//   - On macOS and FreeBSD the kernel does not end a connection whose client leaves output unread; the deadline of the session
//     channel does, after twice --unread-timeout. A reload changes the kernel's keepalives only for addresses that are new.
//   - On Windows no server starts: foyer cannot tell there who can change its keys and its users' files, and trusts none (see
//     foyer/middleware/watchfile). The layers, cmd/knock and the commands that read nothing of this work; it has no SIGHUP and
//     no SIGUSR1.
//   - knock --pid needs the /proc of Linux.
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

// The texts of the manual page.
const (
	manFiles = "foyer.toml: the settings\nssh-passwords: the users and their passwords\nauthorized_keys.d: the users' keys\n" +
		"hostkeys: the keys by which visitors know the server\nmaintenance.json: the switch of foyer maintenance\nAll are relative to the working directory."
	manSignals = "SIGTERM, SIGINT: accept nobody, let sessions finish for --drain-timeout, and end. A second one ends at once.\n" +
		"SIGHUP: read the settings again, for new connections, and open the log files again.\n" +
		"SIGUSR1: log what is open."
)

// newRoot returns the command "foyer", which does the same as "foyer serve" and has all other commands as subcommands.
func newRoot() *cobra.Command {
	cfg := newConfig()
	root := serveCommand(cfg)
	root.Use = "foyer"
	root.Short = "An SSH server that shows a message instead of a shell"
	root.Long = "foyer is an SSH server without a shell. It authenticates visitors, shows them a message\n" +
		"and closes the session. Without a command it runs \"foyer serve\"."
	root.Example = "foyer --listen :2022\nfoyer user add alice\nFOYER_LOG_FORMAT=json foyer --pty accept"
	root.Annotations = map[string]string{
		cli.Environment: environment, cli.Files: manFiles, cli.Signals: manSignals, cli.Rare: "All settings: foyer help settings",
	}
	root.PersistentFlags().StringVar(&cfg.File, "config", defaultFile, "`file` with settings")
	root.AddCommand(serveCommand(cfg), userCommand(cfg), hostkeyCommand(cfg), checkCommand(cfg), configCommand(cfg), maintenanceCommand(cfg), previewCommand(cfg))
	root.AddCommand(limitsTopic(), algorithmsTopic(), settingsTopic(root))
	return root
}

// arguments checks the number of arguments: one for each word in cmd.Use after the command's name.
func arguments(cmd *cobra.Command, args []string) error {
	switch want := strings.Fields(cmd.Use)[1:]; {
	case len(args) == len(want):
		return nil
	case len(want) == 0:
		return cli.Usage(fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()))
	default:
		return cli.Usage(fmt.Errorf("%s requires one argument, %s, but got %d", cmd.CommandPath(), want[0], len(args)))
	}
}
