//go:build !windows

package settings_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"foyer/cmd/cli"
	"foyer/cmd/foyer/settings"
)

// number is an integer from 1 to 10.
type number int

func (n *number) String() string           { return strconv.Itoa(int(*n)) }
func (n *number) Type() string             { return "number" }
func (n *number) Range() (least, most int) { return 1, 10 }

func (n *number) Set(text string) error {
	parsed, err := strconv.Atoi(text)
	if err == nil && (parsed < 1 || parsed > 10) {
		err = fmt.Errorf("%s is not in the range", text)
	}
	*n = number(parsed)
	return err
}

// door is a program with a setting of each kind.
type door struct {
	*settings.Set
	fs *pflag.FlagSet
}

func newDoor() door {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.String("wood", "oak", "")
	own.StringSlice("colour", []string{"red"}, "")
	own.Bool("open", false, "")
	knocks := number(3)
	setting := func(name string) settings.Setting {
		return settings.Setting{Name: name, Value: own.Lookup(name).Value, Help: "the " + name, Everyday: name == "wood"}
	}
	d := door{settings.New("DOOR",
		settings.Group{Heading: "look", Settings: []settings.Setting{setting("wood")}},
		settings.Group{Heading: "use", Table: "use", Settings: []settings.Setting{
			setting("open"), {Name: "knocks", Value: &knocks, Help: "how many knocks", Restart: true},
		}},
		settings.Group{Heading: "paint", Table: "paint", Settings: []settings.Setting{{Name: "colour", Value: list{own.Lookup("colour").Value}, Help: "the colours"}}},
	), pflag.NewFlagSet("", pflag.ContinueOnError)}
	d.AddFlags(d.fs)
	return d
}

// list is pflag's slice with a String that Set accepts.
type list struct{ pflag.Value }

func (l list) String() string               { return strings.Trim(l.Value.String(), "[]") }
func (l list) Append(text string) error     { return l.Value.(pflag.SliceValue).Append(text) }
func (l list) Replace(texts []string) error { return l.Value.(pflag.SliceValue).Replace(texts) }
func (l list) GetSlice() []string           { return l.Value.(pflag.SliceValue).GetSlice() }

// load reads a file with these flags and variables.
func (d door) load(t testing.TB, file string, env map[string]string, args ...string) []error {
	t.Helper()
	if err := d.fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "door.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(path))
	return d.Load(d.fs, func(name string) string { return env[name] }, "door.toml", true)
}

func (d door) printed() string {
	var text strings.Builder
	d.Print(&text)
	return text.String()
}

// The flag wins over the variable, the variable over the file, the file over the default, and each says where it is from.
func TestPrecedence(t *testing.T) {
	d := newDoor()
	problems := d.load(t, "wood = \"ash\"\n[use]\nopen = true\nknocks = 4\n[paint]\ncolour = [\"blue\", \"green\"]\n",
		map[string]string{"DOOR_OPEN": "false", "DOOR_WOOD": "elm", "DOOR_KNOCKS": "", "DOOR_OTHER": "x"}, "--wood", "fir")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	const want = `# Look
wood = "fir" # --wood

# Use
[use]
open = false # DOOR_OPEN
knocks = 4 # door.toml:4

# Paint
[paint]
colour = ["blue", "green"] # door.toml:6
`
	if got := d.printed(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// What is printed is a file with the same values.
func TestPrintedIsAFile(t *testing.T) {
	d, again := newDoor(), newDoor()
	d.load(t, "", nil, `--wood=a"\`+"\n\x7f#é", "--open", "--colour=a,b", "--knocks=7")
	if problems := again.load(t, d.printed(), nil); len(problems) > 0 {
		t.Fatalf("%s\n%v", d.printed(), problems)
	}
	if changes := d.Changes(again.Set); len(changes) > 0 {
		t.Errorf("changed: %v", changes)
	}
}

// Each problem of a file has its place, its line and, where one is known, the way out.
func TestProblems(t *testing.T) {
	for _, tt := range []struct{ file, want, excerpt, hint string }{
		{"wod = 1", `door.toml:1:1: unknown setting "wod"`, "1 | wod = 1\n  | ^", "did you mean wood?"},
		{"[use]\nknoks = 1", `door.toml:2:1: unknown setting "use.knoks"`, "2 | knoks = 1\n  | ^", "did you mean knocks?"},
		{"x.y.z = 1", `door.toml:1:1: unknown setting "x.y.z"`, "1 | x.y.z = 1\n  | ^", "run: foyer help settings"},
		{"open = true", `door.toml:1:1: open is not in this table`, "1 | open = true\n  | ^", "its place is use.open"},
		{"[use]\nwood = \"ash\"", `door.toml:2:1: wood is not in this table`, "2 | wood = \"ash\"\n  | ^", "its place is wood"},
		{"wood = 1", "door.toml:1:8: wood must be a string", "1 | wood = 1\n  |        ^", ""},
		{"wood = 1.5", "door.toml:1:8: wood must be a string", "1 | wood = 1.5\n  |        ^", ""},
		{"wood = 2026-01-02", "door.toml:1:8: wood must be a string", "1 | wood = 2026-01-02\n  |        ^", ""},
		{"wood = [\"ash\"]", "door.toml:1:1: wood must be a string", "1 | wood = [\"ash\"]\n  | ^", ""},
		{"[use]\n  knocks = \"1\"", "door.toml:2:12: knocks must be an integer", "2 |   knocks = \"1\"\n  |            ^", ""},
		{"[use]\nknocks = 0x_1", "door.toml:2:10: radix prefix must be followed by at least one digit", "", ""},
		{"[use]\nknocks = 11", "door.toml:2:10: knocks: 11 is not in the range", "2 | knocks = 11\n  |          ^", ""},
		{"[use]\nopen = \"true\"", "door.toml:2:8: open must be true or false", "2 | open = \"true\"\n  |        ^", ""},
		{"use = { open = 1 }", "door.toml:1:16: open must be true or false", "1 | use = { open = 1 }\n  |                ^", ""},
		{"[paint]\ncolour = 5", "door.toml:2:10: colour must be a string or an array of strings", "2 | colour = 5\n  |          ^", ""},
		{"[paint]\ncolour = [\"a\", 5]", "door.toml:2:1: colour must be a string or an array of strings", "2 | colour = [\"a\", 5]\n  | ^", ""},
		{"wood = \"a\"\nwood = \"b\"", "door.toml:2:1: key wood is already defined", "2 | wood = \"b\"\n  | ^", ""},
		{"[use]\n[use]", "door.toml:2:2: table use already exists", "2 | [use]\n  |  ^", ""},
		{"wood = \n", "door.toml:1:8: unexpected character U+000A at start of value", "1 | wood = \n  |        ^", ""},
		{"é = \"\x1b[31m\"", "door.toml:1:", `1 | é = "\x1b[31m"`, ""},
		{"\tx = 1", `door.toml:1:2: unknown setting "x"`, "1 |  x = 1\n  |  ^", ""},
		{"\"é\".x = 1", `door.toml:1:1: unknown setting "é.x"`, "1 | \"é\".x = 1\n  | ^", ""},
	} {
		problems := newDoor().load(t, tt.file, nil)
		if len(problems) != 1 {
			t.Errorf("%q: %d problems: %v", tt.file, len(problems), problems)
			continue
		}
		err := problems[0]
		if !strings.HasPrefix(err.Error(), tt.want) || !strings.HasPrefix(cli.Excerpt(err), tt.excerpt) {
			t.Errorf("%q:\n%s\n%s\nwant\n%s\n%s", tt.file, err, cli.Excerpt(err), tt.want, tt.excerpt)
		}
		if tt.hint != "" && cli.Hint(err) != tt.hint {
			t.Errorf("%q: the hint is %q, want %q", tt.file, cli.Hint(err), tt.hint)
		}
	}
}

// All problems are reported, also those of the environment, and what a flag overrides must be valid nevertheless.
func TestAllProblems(t *testing.T) {
	d := newDoor()
	problems := d.load(t, "wood = 1\nwod = 2\n[use]\nknocks = 99\nopen = true", map[string]string{"DOOR_OPEN": "perhaps"}, "--knocks=5")
	want := []string{
		`environment variable DOOR_OPEN: "perhaps" is not true or false`,
		"door.toml:1:8: wood must be a string", `door.toml:2:1: unknown setting "wod"`, "door.toml:4:10: knocks: 99 is not in the range",
	}
	var got []string
	for _, err := range problems {
		got = append(got, err.Error())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if text := d.printed(); !strings.Contains(text, "knocks = 5 # --knocks") {
		t.Errorf("the flag is lost:\n%s", text)
	}
}

// What is not a file, or is too large or somebody else's, is an error at once.
func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		syscall.Mkfifo(path("pipe"), 0o600), os.WriteFile(path("large"), make([]byte, 1<<20+1), 0o600),
		os.WriteFile(path("open"), nil, 0o600), os.Chmod(path("open"), 0o666),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"": "is a directory", "pipe": "is a named pipe", "large": "is larger than 1 MiB", "open": "others can write it", "none": "no such file",
	} {
		problems := newDoor().Load(pflag.NewFlagSet("", pflag.ContinueOnError), func(string) string { return "" }, path(name), true)
		if len(problems) != 1 || !strings.Contains(problems[0].Error(), want) {
			t.Errorf("%q: %v, want %s", name, problems, want)
		}
	}
	if problems := newDoor().Load(pflag.NewFlagSet("", pflag.ContinueOnError), func(string) string { return "" }, path("none"), false); problems != nil {
		t.Errorf("a file that may be missing: %v", problems)
	}
}

// A reload keeps what the command line says, and finds what has changed.
func TestReload(t *testing.T) {
	d := newDoor()
	d.load(t, "[use]\nknocks = 4\n[paint]\ncolour = [\"blue\"]\n", nil, "--wood", "fir")
	next := newDoor()
	next.Inherit(d.Set)
	if problems := next.load(t, "wood = \"ash\"\n[use]\nknocks = 5\nopen = true\n", nil); len(problems) > 0 {
		t.Fatal(problems)
	}
	var got []string
	for _, change := range d.Changes(next.Set) {
		got = append(got, fmt.Sprintf("%s %s %s %t", change.Name, change.Old, change.New, change.Restart))
	}
	if want := []string{"open false true false", "knocks 4 5 true", "colour blue red false"}; !slices.Equal(got, want) {
		t.Errorf("changed %q, want %q", got, want)
	}
	if text := next.printed(); !strings.Contains(text, `wood = "fir" # --wood`) {
		t.Errorf("the flag is lost:\n%s", text)
	}
}

// No file makes it panic; a file that TOML cannot read is a problem; each problem is in a line of the file; and what is read
// without a problem is what is printed.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"wood = \"ash\"\n[use]\nopen = true\nknocks = 0x4\n[paint]\ncolour = [\"a\", 'b']", "use = { open = 1, knocks = 2 }", "a = [[1], {x = 2}]",
		"[[use]]\nopen = true", "\"\" = 1", "wood = \"\"\"\na\\\n b\"\"\"", "x = 2026-01-02 03:04:05Z", "[use.open]\nx = 1", "\r\n", "a.b.c = +1_0", "\ufeff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := newDoor()
		problems := d.load(t, text, nil)
		var all map[string]any
		if err := toml.Unmarshal([]byte(text), &all); err != nil && len(problems) == 0 {
			t.Errorf("no problem, but %v", err)
		}
		for _, err := range problems {
			problem, ok := errors.AsType[*settings.Problem](err)
			if !ok || problem.Line < 1 || problem.Line > strings.Count(text, "\n")+1 || problem.Column < 1 {
				t.Errorf("%v", err)
			}
			if strings.ContainsAny(problem.Excerpt()+err.Error(), "\x1b\x00\r") {
				t.Errorf("%q", problem.Excerpt())
			}
		}
		again := newDoor()
		if len(problems) == 0 && len(again.load(t, d.printed(), nil)) > 0 || len(problems) == 0 && len(d.Changes(again.Set)) > 0 {
			t.Errorf("%s is printed as\n%s", text, d.printed())
		}
	})
}
