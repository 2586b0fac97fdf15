package content

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// maxGlob is how many bytes a glob can have.
const maxGlob = 256

// glob matches a whole command. * stands for any characters, ? for one character, everything else for itself.
type glob struct {
	pattern  string
	segments []string // between the stars
}

func newGlob(pattern string) (glob, error) {
	switch {
	case pattern == "":
		return glob{}, errors.New("glob is empty")
	case len(pattern) > maxGlob:
		return glob{}, errors.New("glob has more than 256 bytes")
	}
	return glob{pattern, strings.Split(pattern, "*")}, nil
}

// match takes the first place where each segment fits, and never goes back: a later place leaves less for the next
// segments. Its time is linear in the length of s or, for segments with a ?, at most maxGlob times that.
func (g glob) match(s string) bool {
	size := fits(g.segments[0], s)
	if size < 0 {
		return false
	}
	s = s[size:]
	if len(g.segments) == 1 {
		return s == ""
	}
	last := len(g.segments) - 1
	for _, segment := range g.segments[1:last] {
		at, size := find(segment, s)
		if at < 0 {
			return false
		}
		s = s[at+size:]
	}
	return endsWith(s, g.segments[last])
}

// fits returns how many bytes of s the segment takes at its beginning, or -1.
func fits(segment, s string) int {
	if !strings.Contains(segment, "?") {
		if strings.HasPrefix(s, segment) {
			return len(segment)
		}
		return -1
	}
	rest := s
	for _, c := range segment {
		r, size := utf8.DecodeRuneInString(rest)
		if size == 0 || c != '?' && (r != c || r == utf8.RuneError && size == 1) {
			return -1
		}
		rest = rest[size:]
	}
	return len(s) - len(rest)
}

func find(segment, s string) (at, size int) {
	if !strings.Contains(segment, "?") {
		return strings.Index(s, segment), len(segment)
	}
	for at = 0; at <= len(s); {
		if size = fits(segment, s[at:]); size >= 0 {
			return at, size
		}
		_, step := utf8.DecodeRuneInString(s[at:])
		at += max(step, 1)
	}
	return -1, 0
}

func endsWith(s, segment string) bool {
	if !strings.Contains(segment, "?") {
		return strings.HasSuffix(s, segment)
	}
	start := len(s)
	for range utf8.RuneCountInString(segment) {
		_, size := utf8.DecodeLastRuneInString(s[:start])
		start -= size
	}
	return fits(segment, s[start:]) == len(s)-start
}

// literals returns the texts that every command which matches contains.
func (g glob) literals() []string {
	return strings.FieldsFunc(g.pattern, func(r rune) bool { return r == '*' || r == '?' })
}

// covers reports whether g certainly matches whatever other matches.
func (g glob) covers(other glob) bool {
	return g.pattern == other.pattern || strings.Trim(g.pattern, "*") == "" ||
		!strings.ContainsAny(other.pattern, "*?") && g.match(other.pattern)
}
