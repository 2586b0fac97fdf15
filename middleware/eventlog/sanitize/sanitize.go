// Package sanitize makes untrusted text safe to show: in a log, on a terminal, in an error.
//
// A user name, a client version or a command can contain line feeds that forge a log line, escape sequences that
// control the reader's terminal, and bidirectional marks that reorder the text. Everything that a peer chose must pass
// through [String] before it is shown, in every format, so that no format has to be trusted to escape it.
package sanitize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Ellipsis ends a text that was cut.
const Ellipsis = "…"

// String returns s in at most limit bytes, with an escape in Go's notation, such as \n, \x1b or \u202e, for every
// character that [unicode.IsPrint] does not accept or that is invisible (Unicode's Default_Ignorable_Code_Point): control
// characters, line and paragraph separators, bidirectional and zero-width marks, variation selectors, the fillers of
// Hangul, and bytes that are not UTF-8. A backslash is doubled, so that escapes are unambiguous. A text
// that was cut ends in an [Ellipsis], beyond the limit.
func String(s string, limit int) string {
	if len(s) <= limit && plain(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		shown := escape(r, s[:size])
		if b.Len()+len(shown) > limit {
			b.WriteString(Ellipsis)
			break
		}
		b.WriteString(shown)
		s = s[size:]
	}
	return b.String()
}

// plain reports whether s needs no escape, which is the usual case.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// invisible reports whether a character that unicode.IsPrint accepts has the property Default_Ignorable_Code_Point, as
// DerivedCoreProperties.txt derives it.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// escape returns one character, encoded as raw, as String writes it.
func escape(r rune, raw string) string {
	switch {
	case r == '\\':
		return `\\`
	case r == utf8.RuneError && len(raw) == 1:
		return fmt.Sprintf(`\x%02x`, raw[0])
	case unicode.IsPrint(r) && !invisible(r):
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
