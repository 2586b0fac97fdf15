// Package markdown lays out CommonMark with tables for a terminal, and as plain text for a program.
//
// Placeholders are found while a page is parsed and replaced while it is laid out, so that a value is always literal
// text: it cannot become markup. In the address of a link a value is percent-encoded. No control character of a page or
// of a value reaches the terminal; the only escape sequences are the renderer's own, for styles (SGR) and links (OSC 8).
//
// Raw HTML is shown as text, because `ssh <name>@host` is more frequent in such pages than HTML. A link or an image whose
// address has another scheme than http, https, mailto, ssh, git, sftp is shown as its text. Lines of code are not wrapped,
// so that they can be copied.
//
// What a page may hold is bounded, because the time of a CommonMark parser and the size of a layout can grow with the
// square of the page; see the constants.
package markdown

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"

	"foyer/middleware/content/placeholder"
)

// Limits of a page.
const (
	MaxSize    = 256 << 10 // bytes
	maxLines   = 5000
	maxLine    = 8 << 10 // bytes
	maxSpecial = 4096    // characters that can begin an emphasis or a link
	maxDepth   = 16      // quotes and lists within one another, and emphasis within emphasis
	maxColumns = 16      // of a table
	maxCells   = 2000    // of all tables
	maxAddress = 2048    // bytes of a link's address, as in VTE's OSC 8
	maxLayout  = 1 << 20
)

// The widths that a page is laid out for. Others are changed to the nearest one.
const (
	MinWidth     = 20
	MaxWidth     = 200
	ProgramWidth = 80 // for programs, so that all of them get the same bytes
)

// Profile is what a terminal can show.
type Profile uint8

// The profiles.
const (
	Plain Profile = iota // no escape sequences
	ANSI                 // styles and 16 colours
	Links                // also OSC 8 hyperlinks
)

// Page is a parsed page. It is safe for concurrent use.
type Page struct {
	source   []byte
	document ast.Node
	names    []string // of its placeholders
}

// Names returns the names of the page's placeholders, each once.
func (p *Page) Names() []string { return p.names }

// Parse parses a page. Its error is a [*placeholder.Error] if the problem is in one line.
func Parse(source string) (*Page, error) {
	if err := bounded(source); err != nil {
		return nil, err
	}
	// goldmark appends a line feed to the last line of code, in place if the slice has room for it, even after parsing.
	p := &Page{source: slices.Clip([]byte(source))}
	p.document = newParser().Parse(text.NewReader(p.source))
	for _, width := range []int{MinWidth, MaxWidth} {
		l := newLayout(p, Links, longest{})
		l.text(width)
		if l.err != nil {
			return nil, l.err
		}
		if l.cut {
			return nil, fmt.Errorf("is larger than %d KiB when it is laid out", maxLayout>>10)
		}
		p.names = l.names
	}
	return p, nil
}

// Layout returns the page for a terminal of width columns. Lines end in a line feed, except the last one.
func (p *Page) Layout(width int, profile Profile, values placeholder.Values) string {
	return newLayout(p, profile, values).text(min(max(width, MinWidth), MaxWidth))
}

// longest gives every placeholder a long value, to check the size of a layout.
type longest struct{}

func (longest) Value(string) string { return strings.Repeat("x", 256) }

// markers matches what begins quotes and list items at the beginning of a line.
var markers = regexp.MustCompile(`^(?:[ \t]*(?:>|(?:[-+*]|[0-9]{1,9}[.)])[ \t]))*`)

// bounded returns an error if parsing source could take more than linear time or memory.
func bounded(source string) error {
	if len(source) > MaxSize {
		return fmt.Errorf("is larger than %d KiB", MaxSize>>10)
	}
	special := 0
	number := 0
	for line := range strings.Lines(source) {
		number++
		special += strings.Count(line, "[") + strings.Count(line, "*") + strings.Count(line, "_")
		if err := boundedLine(line, number, special); err != nil {
			return &placeholder.Error{Line: number, Err: err}
		}
	}
	return nil
}

func boundedLine(line string, number, special int) error {
	switch {
	case number > maxLines:
		return fmt.Errorf("page has more than %d lines", maxLines)
	case len(line) > maxLine:
		return fmt.Errorf("line has more than %d bytes", maxLine)
	case special > maxSpecial:
		return fmt.Errorf("page has more than %d characters of *, _ and [", maxSpecial)
	case depth(line) > 2*maxDepth:
		return errDepth
	case strings.Count(line, "|") > maxColumns+1 && strings.Trim(line, "|:->+* \t\r\n") == "":
		return fmt.Errorf("table has more than %d columns", maxColumns)
	}
	return nil
}

// depth returns how many quotes and list items begin in a line. Otherwise, a line such as "- - -" is a thematic break.
func depth(line string) (n int) {
	if strings.Trim(line, "- \t\r\n") == "" || strings.Trim(line, "* \t\r\n") == "" {
		return 0
	}
	for _, c := range markers.FindString(line) {
		if strings.ContainsRune(">-+*.)", c) {
			n++
		}
	}
	return n
}

var errDepth = errors.New("quotes, lists or emphasis are nested too deeply")
