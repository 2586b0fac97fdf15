package content

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	exit := 255
	hour := time.Hour
	for _, tt := range []struct {
		name  string
		rules []Rule
		want  []string // W is a warning, E an error
	}{
		{"nothing", []Rule{{}}, nil},
		{"unknown group", []Rule{{Groups: []string{"stuff"}, NotGroups: []string{"x"}}},
			[]string{`E foyer.toml:0 groups: unknown group "stuff"`, `E foyer.toml:0 not-groups: unknown group "x"`}},
		{"fingerprint", []Rule{{Keys: []string{"MD5:aa"}}}, []string{`E foyer.toml:0 keys: "MD5:aa" is not a SHA256 fingerprint`}},
		{"request", []Rule{{Request: []string{"sftp"}}}, []string{`E foyer.toml:0 request: "sftp" is not one of shell, exec, subsystem`}},
		{"glob", []Rule{{Command: []string{"", strings.Repeat("x", 257)}}},
			[]string{"E foyer.toml:0 command: glob is empty", "E foyer.toml:0 command: glob has more than 256 bytes"}},
		{"exit", []Rule{{Exit: &exit}}, []string{"E foyer.toml:0 exit: 255 is not an exit status from 0 to 254"}},
		{"dates", []Rule{{From: noon.Add(hour), Until: noon.Add(hour)}}, []string{"E foyer.toml:0 until: is not after from"}},
		{"passed", []Rule{{Until: noon}}, []string{"W foyer.toml:0 until: 2026-12-03T12:00:00Z has passed"}},
		{"text and file", []Rule{{Text: "a", File: "b"}}, []string{"E foyer.toml:0 file: a rule has a text or a file, not both"}},
		{"placeholder", []Rule{{Text: "Hi {usr}"}}, []string{"E foyer.toml:0 text: unknown placeholder {usr}"}},
		{"placeholder in a line", []Rule{{Text: "Hi\n{usr}"}}, []string{"E foyer.toml:0 text: line 2: unknown placeholder {usr}"}},
		{"escape sequence", []Rule{{Text: "Hi \x1b[2J"}}, []string{"E foyer.toml:0 text: has the control character U+001B"}},
		{"missing file", []Rule{{File: "missing.md"}}, []string{"E foyer.toml:0 file: DIR/missing.md: no such file or directory"}},
		{"control character", []Rule{{File: "control.txt"}}, []string{"E foyer.toml:0 file: DIR/control.txt:3: has the control character U+009B"}},
		{"not UTF-8", []Rule{{File: "latin1.txt"}}, []string{"E foyer.toml:0 file: DIR/latin1.txt:2: is not UTF-8"}},
		{"placeholder in Markdown", []Rule{{File: "bad.md"}}, []string{"E foyer.toml:0 file: DIR/bad.md:3: unknown placeholder {usr}"}},

		{"unconditional", []Rule{{}, {Users: []string{"ada"}}}, []string{"W foyer.toml:1: is never said: the answer at foyer.toml:0 fits all"}},
		{"reachable", []Rule{{Users: []string{"ada"}}, {}}, nil},
		{"same", []Rule{{Users: []string{"ada"}}, {Users: []string{"ada"}}}, []string{"W foyer.toml:1: is never said"}},
		{"fewer users", []Rule{{Users: []string{"ada", "bob"}}, {Users: []string{"ada"}, Terminal: &yes}}, []string{"W foyer.toml:1: is never said"}},
		{"more users", []Rule{{Users: []string{"ada"}}, {Users: []string{"ada", "bob"}}}, nil},
		{"more conditions", []Rule{{Users: []string{"ada"}, Terminal: &yes}, {Users: []string{"ada"}}}, nil},
		{"more excluded", []Rule{{NotUsers: []string{"ada"}}, {NotUsers: []string{"ada", "bob"}}}, []string{"W foyer.toml:1: is never said"}},
		{"less excluded", []Rule{{NotUsers: []string{"ada", "bob"}}, {NotUsers: []string{"ada"}}}, nil},
		{"part of a network", []Rule{{Networks: networks("10.0.0.0/8")}, {Networks: networks("10.1.0.0/16")}}, []string{"W foyer.toml:1: is never said"}},
		{"another network", []Rule{{Networks: networks("10.0.0.0/8")}, {Networks: networks("10.1.0.0/16", "11.0.0.0/8")}}, nil},
		{"excluded network", []Rule{{NotNetworks: networks("10.1.0.0/16")}, {NotNetworks: networks("10.0.0.0/8")}}, []string{"W foyer.toml:1: is never said"}},
		{"other excluded network", []Rule{{NotNetworks: networks("10.0.0.0/8")}, {NotNetworks: networks("10.1.0.0/16")}}, nil},
		{"glob of another", []Rule{{Command: []string{"git-*"}}, {Command: []string{"git-upload-pack"}}}, []string{"W foyer.toml:1: is never said"}},
		{"any command", []Rule{{Command: []string{"*"}}, {Command: []string{"a*"}}}, []string{"W foyer.toml:1: is never said"}},
		{"other glob", []Rule{{Command: []string{"git-*"}}, {Command: []string{"git*"}}}, nil},
		{"a glob that looks like text of another", []Rule{{Command: []string{"??"}}, {Command: []string{"a*"}}}, nil},
		{"terminal", []Rule{{Terminal: &yes}, {Terminal: &yes}}, []string{"W foyer.toml:1: is never said"}},
		{"other terminal", []Rule{{Terminal: &yes}, {Terminal: &no}}, nil},
		{"time within", []Rule{{From: noon, Until: noon.Add(9 * hour)}, {From: noon.Add(hour), Until: noon.Add(2 * hour)}}, []string{"W foyer.toml:1: is never said"}},
		{"later", []Rule{{Until: noon.Add(hour)}, {Until: noon.Add(2 * hour)}, {}}, nil},
		{"earlier", []Rule{{From: noon.Add(hour)}, {From: noon}, {}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := settings(tt.rules...)
			s.Groups = map[string][]string{"staff": {"ada"}}
			s.Texts = NewTexts(dir, nil)
			write(t, dir, "control.txt", "a\r\nb\t\nc\u009b")
			write(t, dir, "latin1.txt", "a\n\xe9")
			write(t, dir, "bad.md", "# a\n\n[{usr}](ssh://a)")
			problems := Check(s, noon)
			_, err := New(s)
			if wantError := slices.ContainsFunc(tt.want, func(w string) bool { return w[0] == 'E' }); wantError != (err != nil) {
				t.Errorf("New: error %v", err)
			}
			if len(problems) != len(tt.want) {
				t.Fatalf("problems %v, want %q", problems, tt.want)
			}
			for i, p := range problems {
				kind := map[bool]string{true: "W ", false: "E "}[p.Warning]
				if got := kind + strings.ReplaceAll(p.Error(), dir, "DIR"); !strings.HasPrefix(got, tt.want[i]) {
					t.Errorf("problem %q, want %q", got, tt.want[i])
				}
			}
		})
	}
}

func TestCheckGroups(t *testing.T) {
	s := settings()
	s.GroupAt = func(group string) string { return "foyer.toml:" + group }
	problems := Check(s, noon)
	if len(problems) != 1 || problems[0].Error() != `foyer.toml:none: group "none" has no users` || !problems[0].Warning {
		t.Errorf("problems %v", problems)
	}
}

func TestCheckNothingSaid(t *testing.T) {
	_, err := New(Settings{Answers: []Rule{{}}, Texts: NewTexts(".", nil)})
	if err == nil || err.Error() != "a rule needs a text or a file" {
		t.Errorf("error %v", err)
	}
}

func TestCheckBanner(t *testing.T) {
	for _, tt := range []struct{ banner, want string }{{"{address}", ""}, {"{user}", "a banner cannot have the placeholder {user}"}} {
		s := settings()
		s.Banner = &Rule{Text: tt.banner, NotNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Until: noon}
		if _, err := New(s); (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: error %v", tt.banner, err)
		}
		s.Banner.Users = []string{"ada"}
		if _, err := New(s); err == nil || !strings.Contains(err.Error(), "a banner cannot have this condition") {
			t.Errorf("users: error %v", err)
		}
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A new version of a file is said from then on. One that is invalid is reported once, and the last good one is said.
func TestFileChanges(t *testing.T) {
	dir := t.TempDir()
	var warned []string
	write(t, dir, "a.md", "*one* {user}")
	s := settings(Rule{File: "a.md"})
	s.Texts = NewTexts(dir, func(err error) { warned = append(warned, err.Error()) })
	table := table(t, s)
	say := func(want string) {
		t.Helper()
		m, _ := table.Answer(ada())
		if got := m.Text(ada(), View{}); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
	say("one ada")
	write(t, dir, "a.md", "# two\r\n\r\n{server}\r\n")
	say("two\n===\n\nexample.org")
	write(t, dir, "a.md", "three {usr}")
	say("two\n===\n\nexample.org")
	say("two\n===\n\nexample.org")
	if len(warned) != 1 || !strings.HasPrefix(warned[0], filepath.Join(dir, "a.md")+":1: unknown placeholder {usr}") {
		t.Errorf("warned %q", warned)
	}
	if err := os.Remove(filepath.Join(dir, "a.md")); err != nil {
		t.Fatal(err)
	}
	say("two\n===\n\nexample.org")
	if len(warned) != 2 || !strings.Contains(warned[1], "no such file") {
		t.Errorf("warned %q", warned)
	}
}

func TestTextsOpen(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.txt", "*plain* {user}\r\n\r\n")
	texts := NewTexts(t.TempDir(), nil)
	text, err := texts.Open(filepath.Join(dir, "a.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := texts.Open(filepath.Join(dir, "a.txt")); again != text || err != nil {
		t.Errorf("the file is opened twice, error %v", err)
	}
	if got := text.For(ada(), "", time.Time{}, View{Width: 20, Profile: 2}); got != "*plain* ada" {
		t.Errorf("got %q", got)
	}
}
