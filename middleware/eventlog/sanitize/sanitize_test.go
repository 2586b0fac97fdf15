package sanitize_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"foyer/middleware/eventlog/sanitize"
)

func TestString(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "guest", "guest"},
		{"empty", "", ""},
		{"letters beyond ASCII", "Zoë 東京", "Zoë 東京"},
		{"a forged log line", "root\nINFO session opened user=admin", `root\nINFO session opened user=admin`},
		{"carriage return", "root\rhidden", `root\rhidden`},
		{"an escape sequence", "\x1b[2Jgone", `\x1b[2Jgone`},
		{"an 8-bit escape sequence", "\u009b2Jgone", `\u009b2Jgone`},
		{"bidirectional override", "user\u202egpj.exe", `user\u202egpj.exe`},
		{"isolates and marks", "\u2066a\u2069\u200f", `\u2066a\u2069\u200f`},
		{"zero width", "ro\u200bot", `ro\u200bot`},
		{"line separator", "a\u2028b", `a\u2028b`},
		{"a space that is not a space", "a\u00a0b", `a\u00a0b`},
		{"a filler that is a letter", "ro\u3164ot\uffa0", `ro\u3164ot\uffa0`},
		{"marks without a shape", "a\u034fb\u17b4\ufe0f\u180b", `a\u034fb\u17b4\ufe0f\u180b`},
		{"a tag beyond the first plane", "\U000e0041", `\U000e0041`},
		{"not UTF-8", "a\xff\xfeb", `a\xff\xfeb`},
		{"NUL and DEL", "\x00\x7f", `\x00\x7f`},
		{"a typed escape stays apart from a real one", `\n`, `\\n`},
		{"tab", "a\tb", `a\tb`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := sanitize.String(tt.in, 64); got != tt.want {
				t.Errorf("String(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestStringIsBounded(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"12345678", "12345678"},
		{"123456789", "12345678…"},
		{strings.Repeat("\x00", 100), `\x00\x00…`},
		{"1234567é", "1234567…"}, // never half a character
	} {
		if got := sanitize.String(tt.in, 8); got != tt.want {
			t.Errorf("String(%q, 8) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzString(f *testing.F) {
	f.Add("guest", 8)
	f.Add("a\n\x1b[0m\u202e\xff\\", 64)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 0 || limit > 1<<16 {
			t.Skip()
		}
		got := sanitize.String(s, limit)
		if len(got) > limit+len(sanitize.Ellipsis) {
			t.Errorf("String(%q, %d) has %d bytes", s, limit, len(got))
		}
		if !utf8.ValidString(got) {
			t.Errorf("String(%q, %d) = %q is not UTF-8", s, limit, got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("String(%q, %d) = %q holds %U", s, limit, got, r)
			}
		}
	})
}

func ExampleString() {
	fmt.Println(sanitize.String("root\nall is well \x1b[32m", 64))
	// Output: root\nall is well \x1b[32m
}
