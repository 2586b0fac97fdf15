package content

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxGlob is how many bytes a glob can have.
const maxGlob = 256

// glob matches a whole command. * stands for any characters, ? for one character, everything else for itself.
type glob string

func newGlob(pattern string) (glob, error) {
	switch {
	case pattern == "":
		return "", errors.New("glob is empty")
	case len(pattern) > maxGlob:
		return "", fmt.Errorf("glob has more than %d bytes", maxGlob)
	}
	return glob(pattern), nil
}

// match takes the first place where the text after each star fits, and goes back no further than to the last star: a later
// place for an earlier one leaves less for the rest. It takes at most len(s) times maxGlob steps.
func (g glob) match(s string) bool {
	at, star, from := 0, -1, 0 // from is where the text after the star was tried
	for i := 0; i < len(s); {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case at < len(g) && g[at] == '*':
			star, from = at, i
			at++
		case at < len(g) && g[at] == '?':
			i += size
			at++
		case at < len(g) && g[at] == s[i]:
			i++
			at++
		case star >= 0:
			_, size = utf8.DecodeRuneInString(s[from:])
			from += size
			i, at = from, star+1
		default:
			return false
		}
	}
	return strings.Trim(string(g[at:]), "*") == ""
}

// literals returns the texts that every command which matches contains.
func (g glob) literals() []string {
	return strings.FieldsFunc(string(g), func(r rune) bool { return r == '*' || r == '?' })
}

// covers reports whether g certainly matches whatever other matches.
func (g glob) covers(other glob) bool {
	return g == other || strings.Trim(string(g), "*") == "" || !strings.ContainsAny(string(other), "*?") && g.match(string(other))
}
