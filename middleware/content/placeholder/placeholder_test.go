package placeholder

import (
	"errors"
	"strings"
	"testing"
)

type values map[string]string

func (v values) Value(name string) string { return v[name] }

func TestReplace(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"Hi {user}!", "Hi ada {server}!"},
		{"{user}{group}", "ada {server}staff"},
		{"{{user}", "{user}"},
		{"{{user}}", "{user}}"},
		{"{{{user}}}", "{ada {server}}}"},
		{"a {{ b } c", "a { b } c"},
		{`{ "json": { "a": 1 } } {} {`, `{ "json": { "a": 1 } } {} {`},
		{"{a name with spaces} {é}", "{a name with spaces} {é}"},
		{"100 %s %", "100 %s %"},
		{strings.Repeat("{", 999) + "user}", strings.Repeat("{", 499) + "ada {server}"},
	} {
		parts, err := Parse(tt.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.in, err)
		}
		if got := Replace(parts, values{"user": "ada {server}", "group": "staff"}); got != tt.want {
			t.Errorf("%q gives %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParseUnknown(t *testing.T) {
	for _, tt := range []struct {
		in, name string
		line     int
	}{
		{"{usr}", "{usr}", 1},
		{"a\n{user}\n{{ {User}", "{User}", 3},
		{"{x-1_y}", "{x-1_y}", 1},
		{"{ago} {user}", "{ago}", 1},
	} {
		_, err := Parse(tt.in)
		problem, ok := errors.AsType[*Error](err)
		if !ok || problem.Line != tt.line || !strings.Contains(problem.Err.Error(), "unknown placeholder "+tt.name+":") {
			t.Errorf("Parse(%q): error %v, want %s in line %d", tt.in, err, tt.name, tt.line)
		}
	}
}

func TestNamesOf(t *testing.T) {
	parts, err := Parse("{user} {time} {user} {{group}")
	if got := strings.Join(NamesOf(parts), " "); err != nil || got != "user time" {
		t.Errorf("got %q, error %v", got, err)
	}
}

// A text without an opening brace is itself, and the values are where the names were.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"Hi {user}!", "{{user}", "{{{", "{usr}", "{\n{server}", "}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts, err := Parse(text)
		if err != nil {
			return
		}
		// With each placeholder as its own value, only the doubled braces are different.
		var want strings.Builder
		for rest := text; rest != ""; {
			if strings.HasPrefix(rest, "{{") {
				rest = rest[1:]
			}
			want.WriteByte(rest[0])
			rest = rest[1:]
		}
		own := values{}
		for _, name := range Names() {
			own[name] = "{" + name + "}"
		}
		if got := Replace(parts, own); got != want.String() {
			t.Errorf("%q gives %q, want %q", text, got, want.String())
		}
	})
}
