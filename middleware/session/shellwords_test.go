package session

import (
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for _, tt := range []struct {
		command string
		want    []string
	}{
		{"", nil},
		{" \t\n", nil},
		{"a", []string{"a"}},
		{"  git-upload-pack\t'my repo.git'\n", []string{"git-upload-pack", "my repo.git"}},
		{`a'b'"c"\d`, []string{"abcd"}},
		{`'' ""`, []string{"", ""}},
		{`'a\'b`, []string{`a\b`}},
		{`"a\"b\\c\$d` + "\\`" + `e\f"`, []string{`a"b\c$d` + "`" + `e\f`}},
		{`a\ b \' \"`, []string{"a b", "'", `"`}},
		{"a \\\n b", []string{"a", "b"}},
		{"a\\\nb \"c\\\nd\"", []string{"ab", "cd"}},
		{"\\\n", nil},
		{"'a\nb'", []string{"a\nb"}},
		{"# $HOME * `id` ; a|b >c", []string{"#", "$HOME", "*", "`id`", ";", "a|b", ">c"}},
		{"\x00 \xff é", []string{"\x00", "\xff", "é"}},
		{`'`, nil},
		{`a "b`, nil},
		{`a \`, nil},
		{`"\"`, nil},
	} {
		if got := splitWords(tt.command); !slices.Equal(got, tt.want) {
			t.Errorf("splitWords(%q) = %q, want %q", tt.command, got, tt.want)
		}
	}
}

// The parser of the library took 3.7 s of CPU for 128 kB of such commands. This one looks at every byte a bounded
// number of times, which memory tells without a clock: the words of a command are never longer than it is.
func TestWordsOfTheLongestCommands(t *testing.T) {
	for _, part := range []string{`'`, `"`, `\`, `''`, `""`, `\\`, `"\`, `'"`, "\\\n", ` '`, `a "`, ` `, `'' `} {
		command := strings.Repeat(part, maxCommand/len(part))
		allocated := testing.AllocsPerRun(1, func() { splitWords(command) })
		if limit := float64(len(command) + 64); allocated > limit {
			t.Errorf("%q...: %v allocations for %d bytes", part, allocated, len(command))
		}
	}
}

// quote writes a word so that a shell reads it back.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

func FuzzWords(f *testing.F) {
	for _, seed := range []string{"", "a b", `a 'b c' "d\"e" \f`, "'", `"`, `\`, "a\\\nb", strings.Repeat(`'"\`, 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, command string) {
		list := splitWords(command)
		total := 0
		quoted := make([]string, len(list))
		for i, word := range list {
			total += len(word)
			quoted[i] = quote(word)
		}
		if total > len(command) {
			t.Errorf("splitWords(%q) = %q, longer than the command", command, list)
		}
		if again := splitWords(strings.Join(quoted, " ")); !slices.Equal(again, list) {
			t.Errorf("splitWords(%q) = %q, which quoted become %q", command, list, again)
		}
		if !strings.ContainsAny(command, `'"\`) {
			plain := strings.FieldsFunc(command, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
			if !slices.Equal(list, plain) {
				t.Errorf("splitWords(%q) = %q, want %q", command, list, plain)
			}
		}
		if alone := splitWords(quote(command)); len(alone) != 1 || alone[0] != command {
			t.Errorf("words of the quoted %q = %q", command, alone)
		}
	})
}
