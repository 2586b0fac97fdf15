package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The annotations of a root command: the prefix of the environment variables of its flags, such as FOYER, and the texts of
// its manual page.
const (
	Environment = "environment"
	Files       = "files"
	Signals     = "signals"
	Rare        = "rare" // a line of the help of a command that leaves flags out: where they are
)

// groupAnnotation is the annotation of a flag with its group.
const groupAnnotation = "group"

// Group adds the flags that add adds, under a heading of the help.
func Group(fs *pflag.FlagSet, name string, add func(*pflag.FlagSet)) {
	own := pflag.NewFlagSet(name, pflag.ContinueOnError)
	own.SortFlags = false
	add(own)
	own.VisitAll(func(f *pflag.Flag) {
		if f.Annotations == nil {
			f.Annotations = map[string][]string{}
		}
		f.Annotations[groupAnnotation] = []string{name}
		fs.AddFlag(f)
	})
}

// MarkRare makes the help of a command leave a flag out. The manual page and [PrintFlags] have it.
func MarkRare(f *pflag.Flag) {
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[Rare] = []string{"true"}
}

// Variable returns the environment variable of a flag: FOYER_LOG_LEVEL for --log-level.
func Variable(prefix, flag string) string {
	return prefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// group is the flags under one heading.
type group struct {
	name  string
	flags []*pflag.Flag
}

// groupsOf returns the flags of a command in groups. Those without one come last.
func groupsOf(cmd *cobra.Command) (groups []group) {
	rest := group{name: "flags"}
	add := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if f.Annotations[groupAnnotation] == nil {
			rest.flags = append(rest.flags, f)
			return
		}
		name := f.Annotations[groupAnnotation][0]
		i := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{name: name})
		}
		groups[i].flags = append(groups[i].flags, f)
	}
	cmd.LocalFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	if len(rest.flags) > 0 {
		groups = append(groups, rest)
	}
	return groups
}

// describe returns how a flag is typed, and what it does with its default.
func describe(f *pflag.Flag) (typed, usage string) {
	value, usage := pflag.UnquoteUsage(f)
	typed = "--" + f.Name
	if f.Shorthand != "" {
		typed = "-" + f.Shorthand + ", " + typed
	}
	if value != "" {
		typed += " " + value
	}
	if !slices.Contains([]string{"", "0", "false", "[]"}, f.DefValue) {
		usage += " (default " + f.DefValue + ")"
	}
	return typed, usage
}

// help prints the help of a command.
func help(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	fmt.Fprintf(w, "%s\n", text)
	if cmd.Runnable() && (cmd.HasAvailableLocalFlags() || !cmd.HasParent() || cmd.Use != cmd.Name()) {
		line := cmd.UseLine()
		if cmd.HasAvailableSubCommands() {
			line = strings.Replace(line, " [flags]", " [command] [flags]", 1)
		}
		fmt.Fprintf(w, "\nusage:\n  %s\n", line)
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nexamples:\n  %s\n", strings.ReplaceAll(cmd.Example, "\n", "\n  "))
	}
	if cmd.HasAvailableSubCommands() {
		list(w, "commands", "", cmd, func(sub *cobra.Command) bool { return sub.IsAvailableCommand() || sub.Name() == "help" })
	}
	if cmd.HasHelpSubCommands() {
		list(w, "more help", "help ", cmd, (*cobra.Command).IsAdditionalHelpTopicCommand)
	}
	isRare := func(f *pflag.Flag) bool { return f.Annotations[Rare] != nil }
	leftOut := false
	for _, g := range groupsOf(cmd) {
		leftOut = leftOut || slices.ContainsFunc(g.flags, isRare)
		printGroup(w, group{g.name, slices.DeleteFunc(g.flags, isRare)})
	}
	prefix := cmd.Root().Annotations[Environment]
	if prefix == "" || !cmd.HasAvailableFlags() {
		return
	}
	fmt.Fprintln(w)
	if leftOut {
		fmt.Fprintln(w, cmd.Root().Annotations[Rare])
	}
	fmt.Fprintf(w, "Each flag is also an environment variable: --log-format is %s. The flag wins.\n", Variable(prefix, "log-format"))
}

// PrintFlags prints all flags of a command, in groups.
func PrintFlags(w io.Writer, cmd *cobra.Command) {
	for _, g := range groupsOf(cmd) {
		printGroup(w, g)
	}
}

func printGroup(w io.Writer, g group) {
	if len(g.flags) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", g.name)
	for _, f := range g.flags {
		printFlag(w, f)
	}
}

func list(w io.Writer, title, before string, cmd *cobra.Command, listed func(*cobra.Command) bool) {
	fmt.Fprintf(w, "\n%s:\n", title)
	for _, sub := range cmd.Commands() {
		if listed(sub) {
			fmt.Fprintf(w, "  %-16s %s\n", before+sub.Name(), sub.Short)
		}
	}
}

// The column in which the description of a flag begins, and the width of the help where it is no terminal.
const (
	indent       = 30
	defaultWidth = 100
)

func printFlag(w io.Writer, f *pflag.Flag) {
	typed, usage := describe(f)
	width := defaultWidth
	if columns, _, err := term.GetSize(os.Stdout.Fd()); err == nil && columns > 2*indent {
		width = columns
	}
	begin := "  " + typed
	if len(begin) >= indent {
		begin += "\n" + strings.Repeat(" ", indent)
	}
	lines := strings.ReplaceAll(ansi.Wordwrap(usage, width-indent, ""), "\n", "\n"+strings.Repeat(" ", indent))
	fmt.Fprintf(w, "%-*s%s\n", indent, begin, lines)
}
