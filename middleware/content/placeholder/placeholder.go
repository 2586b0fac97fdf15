// Package placeholder replaces the names in braces of a text, such as {user}, with values. The names are a closed list:
// there are no expressions, and a value is never read as a part of the text.
//
// {{ stands for one opening brace; a closing brace needs no doubling, so {{user} shows {user}. A brace that does not begin
// a name, as in { "json": 1 }, stands for itself.
package placeholder

import (
	"fmt"
	"slices"
	"strings"
)

// Names are the placeholders that exist.
func Names() []string {
	return []string{
		"user", "group", "address", "client", "method", "key", "certificate", "command",
		"server", "time", "date", "until", "left",
	}
}

// Shared reports whether the value of a name is the same for all visitors, and seldom changes.
func Shared(name string) bool { return name == "server" || name == "date" || name == "until" }

// Values are what the placeholders are replaced with.
type Values interface {
	// Value returns the value of one of [Names], which must be safe to show.
	Value(name string) string
}

// Part is a piece of a text: a placeholder or, if Name is empty, literal text.
type Part struct{ Text, Name string }

// Error is a problem in a line of a text. The first line is 1.
type Error struct {
	Line int
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the problem without the line.
func (e *Error) Unwrap() error { return e.Err }

// Check returns an error if name does not exist.
func Check(name string) error {
	if slices.Contains(Names(), name) {
		return nil
	}
	return fmt.Errorf("unknown placeholder {%s}: it is not one of %s; {{ is a brace", name, strings.Join(Names(), ", "))
}

// Parse divides text into its parts. An unknown placeholder is an [*Error].
func Parse(text string) ([]Part, error) {
	var parts []Part
	for rest := text; rest != ""; {
		brace := strings.IndexByte(rest, '{')
		if brace < 0 {
			return literal(parts, rest), nil
		}
		parts = literal(parts, rest[:brace])
		name, size := First(rest[brace:])
		switch {
		case name == "":
			parts = literal(parts, "{")
		case Check(name) != nil:
			line := 1 + strings.Count(text[:len(text)-len(rest)+brace], "\n")
			return nil, &Error{Line: line, Err: Check(name)}
		default:
			parts = append(parts, Part{Name: name})
		}
		rest = rest[brace+size:]
	}
	return parts, nil
}

func literal(parts []Part, text string) []Part {
	if last := len(parts) - 1; last >= 0 && parts[last].Name == "" && text == "{" {
		parts[last].Text += text
		return parts
	}
	if text == "" {
		return parts
	}
	return append(parts, Part{Text: text})
}

// First returns the name of the placeholder that text begins with, or an empty name if its first character, an opening
// brace, stands for a brace. Size is how much of text that takes. The name may be unknown.
func First(text string) (name string, size int) {
	const maxName = 32 // so that a text of braces takes linear time
	if strings.HasPrefix(text, "{{") {
		return "", 2
	}
	name, _, closed := strings.Cut(text[1:min(len(text), maxName+2)], "}")
	word := func(r rune) bool {
		return r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z'
	}
	if !closed || name == "" || strings.TrimLeftFunc(name, word) != "" {
		return "", 1
	}
	return name, len(name) + 2
}

// Replace returns the text of parts.
func Replace(parts []Part, values Values) string {
	if len(parts) == 1 && parts[0].Name == "" {
		return parts[0].Text // visitors share it
	}
	var room [512]byte // an answer of this size is allocated once
	text := room[:0]
	for _, part := range parts {
		text = append(text, part.Text...)
		if part.Name != "" {
			text = append(text, values.Value(part.Name)...)
		}
	}
	return string(text)
}

// NamesOf returns the names of the placeholders in parts, each once.
func NamesOf(parts []Part) (names []string) {
	for _, part := range parts {
		if part.Name != "" && !slices.Contains(names, part.Name) {
			names = append(names, part.Name)
		}
	}
	return names
}
