package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manCommand returns the command that prints the manual page of all commands.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Print the manual page",
		Long:  "Print the manual page in troff. To read it: COMMAND man | man -l -",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { manual(cmd.OutOrStdout(), cmd.Root()) },
	}
}

// roff escapes what begins a request or a line of its own in troff.
var roff = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n.br\n\\&.", "\n'", "\n.br\n\\&'", "\n", "\n.br\n")

func manual(w io.Writer, root *cobra.Command) {
	name := root.Name()
	section := func(title, text string) {
		if text != "" {
			fmt.Fprintf(w, ".SH %s\n%s\n", title, roff.Replace(text))
		}
	}
	fmt.Fprintf(w, ".TH %s 1\n", strings.ToUpper(name))
	section("NAME", name+" - "+root.Short)
	section("SYNOPSIS", name+" [command] [flags]")
	section("DESCRIPTION", root.Long)
	fmt.Fprintln(w, ".SH COMMANDS")
	commands(w, root)
	for _, g := range groupsOf(root) {
		fmt.Fprintf(w, ".SH OPTIONS: %s\n", strings.ToUpper(g.name))
		manFlags(w, root, g.flags)
	}
	prefix := root.Annotations[Environment]
	if prefix != "" {
		section("ENVIRONMENT", "Each option is also an environment variable, as its description says. The option wins. Empty variables are ignored.")
	}
	section("FILES", root.Annotations[Files])
	section("SIGNALS", root.Annotations[Signals])
	section("EXIT STATUS", "0 if everything went well, 1 for an error, 2 for a wrong command line.")
	section("EXAMPLES", root.Example)
}

// commands describes the commands below cmd.
func commands(w io.Writer, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff.Replace(strings.TrimSuffix(sub.UseLine(), " [flags]")), roff.Replace(sub.Short+"."))
		commands(w, sub)
	}
}

func manFlags(w io.Writer, root *cobra.Command, flags []*pflag.Flag) {
	for _, f := range flags {
		typed, usage := describe(f)
		if prefix := root.Annotations[Environment]; prefix != "" && f.Name != "help" && f.Name != "version" {
			usage += "; " + Variable(prefix, f.Name)
		}
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff.Replace(typed), roff.Replace(usage))
	}
}
