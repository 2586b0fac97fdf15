package content

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, command string
		want             bool
	}{
		{"ls", "ls", true},
		{"ls", "lsx", false},
		{"ls", "als", false},
		{"*", "", true},
		{"*", "a/b\nc", true},
		{"git-*-pack '*old/*'", "git-upload-pack 'old/a'", true},
		{"git-*-pack '*old/*'", "git-receive-pack '/srv/old/a/b.git'", true},
		{"git-*-pack '*old/*'", "git-upload-pack 'new/a'", false},
		{"git-*-pack '*old/*'", "git-upload-pack 'old/a", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"a*ab", "aab", true},
		{"*ab*ab*", "abab", true},
		{"*ab*ab", "abb", false},
		{"a**b", "ab", true},
		{"?", "é", true},
		{"?", "\xff", true},
		{"?", "", false},
		{"??", "é", false},
		{"*?b", "aéb", true},
		{"*?b", "b", false},
		{"*a?c*", "abab abc", true},
		{"?*?", "a", false},
		{"[a]", "[a]", true},
		{"[a]", "a", false},
		{`\*`, `\x`, true},
		{"\ufffd", "\xff", false},
	} {
		g, err := newGlob(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.match(tt.command); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.command, got)
		}
	}
}

// A pattern that makes a backtracking matcher take exponential time ends.
func TestGlobTime(t *testing.T) {
	for _, pattern := range []string{strings.Repeat("a*", 120) + "b", strings.Repeat("*a?", 80) + "b", "*" + strings.Repeat("a?", 100) + "b*"} {
		g, err := newGlob(pattern)
		if err != nil || g.match(strings.Repeat("a", 4<<10)) {
			t.Errorf("%q matches, error %v", pattern, err)
		}
	}
}

// naive is a matcher that tries everything.
func naive(pattern, s []string) bool {
	switch {
	case len(pattern) == 0:
		return len(s) == 0
	case pattern[0] == "*":
		return naive(pattern[1:], s) || len(s) > 0 && naive(pattern, s[1:])
	}
	return len(s) > 0 && (pattern[0] == "?" || pattern[0] == s[0]) && naive(pattern[1:], s[1:])
}

func characters(s string) (all []string) {
	for s != "" {
		_, size := utf8.DecodeRuneInString(s)
		all = append(all, s[:size])
		s = s[size:]
	}
	return all
}

func FuzzGlob(f *testing.F) {
	f.Add("git-*-pack '*old/*'", "git-upload-pack 'old/a'")
	f.Add("*a?c*", "abab abc")
	f.Add("?*é?", "é\xffé")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 24 || !utf8.ValidString(pattern) {
			return
		}
		g, err := newGlob(pattern)
		if err != nil {
			return
		}
		want := naive(characters(pattern), characters(s))
		if got := g.match(s); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, s, got, want)
		}
		if want {
			for _, part := range g.literals() {
				if !strings.Contains(s, part) {
					t.Errorf("%q matches %q without %q", pattern, s, part)
				}
			}
		}
	})
}
