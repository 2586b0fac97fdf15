package cli_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"foyer/cmd/cli"
)

// door is a command line with two groups of flags.
func door() *cobra.Command {
	root := &cobra.Command{
		Use: "door", Short: "A door", Long: "door opens.\n.It has a line that begins with a dot.", Example: "door --colour red",
		Run:         func(*cobra.Command, []string) {},
		Annotations: map[string]string{cli.Environment: "DOOR", cli.Files: "key-file: the key"},
	}
	cli.Group(root.Flags(), "look", func(fs *pflag.FlagSet) {
		fs.String("wood", "oak", "kind of `tree`")
		fs.String("colour", "", "its `colour`")
	})
	cli.Group(root.Flags(), "access", func(fs *pflag.FlagSet) { fs.Bool("open", false, "let everybody in") })
	root.AddCommand(&cobra.Command{Use: "knock NAME", Short: "Ask for somebody", Run: func(*cobra.Command, []string) {}})
	root.AddCommand(&cobra.Command{Use: "hinges", Short: "How it turns", Long: "It turns."})
	return root
}

func runDoor(t *testing.T, args ...string) string {
	t.Helper()
	var told bytes.Buffer
	root := door()
	root.SetArgs(args)
	root.SetOut(&told)
	root.SetErr(&told)
	if status := cli.Run(t.Context(), root); status != 0 {
		t.Errorf("status %d: %s", status, &told)
	}
	return told.String()
}

func TestHelp(t *testing.T) {
	const want = `door opens.
.It has a line that begins with a dot.

usage:
  door [command] [flags]

examples:
  door --colour red

commands:
  completion       Print the script with which a shell completes the command line
  help             Help about any command
  knock            Ask for somebody
  man              Print the manual page

more help:
  help hinges      How it turns

look:
  --wood tree                 kind of tree (default oak)
  --colour colour             its colour

access:
  --open                      let everybody in

flags:
  -h, --help                  help for door
  -v, --version               version for door

Each flag is also an environment variable: --log-format is DOOR_LOG_FORMAT. The flag wins.
`
	if got := runDoor(t, "--help"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := runDoor(t, "knock", "--help"); !strings.HasPrefix(got, "Ask for somebody.\n\nusage:\n  door knock NAME [flags]\n") {
		t.Errorf("the help of a command: %s", got)
	}
	if got := runDoor(t, "help", "hinges"); !strings.HasPrefix(got, "It turns.\n") {
		t.Errorf("the help of a topic: %s", got)
	}
}

func TestMan(t *testing.T) {
	got := runDoor(t, "man")
	for _, want := range []string{
		".TH DOOR 1\n.SH NAME\ndoor \\- A door\n",
		"door opens.\n.br\n\\&.It has a line",
		".TP\n.B door knock NAME\nAsk for somebody.\n",
		".SH OPTIONS: LOOK\n.TP\n.B \\-\\-wood tree\nkind of tree (default oak); DOOR_WOOD\n",
		".SH FILES\nkey\\-file: the key\n",
		".SH EXIT STATUS\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
