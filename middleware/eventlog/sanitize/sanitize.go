// Package clean makes text that a stranger chose safe to show: in a log, on a terminal, in an error.
//
// A user name, a client's version or a command can hold line feeds that forge a log line, escape sequences that
// drive the reader's terminal, and bidirectional marks that reorder what is read. Everything that a peer chose
// passes through String on its way out, in every format, so that no format has to be trusted to escape.
package sanitize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Ellipsis ends a text that was cut.
const Ellipsis = "…"

// String returns s with at most limit bytes of it shown, and every character that is not printable, as
// [unicode.IsPrint] has it, written as an escape in Go's notation: \n, \x1b, \u202e. That covers control
// characters, line and paragraph separators, bidirectional and zero-width marks and bytes that are not UTF-8.
// A backslash is doubled, so that what looks like an escape is one. A text that was cut ends in an [Ellipsis].
func String(s string, limit int) string {
	if len(s) <= limit && plain(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		shown := show(r, s[:size])
		if b.Len()+len(shown) > limit {
			b.WriteString(Ellipsis)
			break
		}
		b.WriteString(shown)
		s = s[size:]
	}
	return b.String()
}

// plain reports whether s needs no escape; almost every text does not.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// show returns one character, encoded as raw, the way String writes it.
func show(r rune, raw string) string {
	switch {
	case r == '\\':
		return `\\`
	case r == utf8.RuneError && len(raw) == 1:
		return fmt.Sprintf(`\x%02x`, raw[0])
	case unicode.IsPrint(r):
		return raw
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < 0x80:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	default:
		return fmt.Sprintf(`\U%08x`, r)
	}
}
