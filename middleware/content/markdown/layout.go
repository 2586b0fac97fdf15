package markdown

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/yuin/goldmark/ast"
	tables "github.com/yuin/goldmark/extension/ast"

	"foyer/middleware/content/placeholder"
)

// layout is one layout of a page that is being made.
type layout struct {
	source  []byte
	root    ast.Node
	profile Profile
	values  placeholder.Values
	symbols symbols
	bytes   int      // of all lines that were added; those in quotes and lists count once for each level
	cut     bool     // the layout is too large
	count   int      // the cells of all tables so far
	names   []string // of the placeholders so far
	err     error    // the first problem of the page
}

// symbols are what a profile draws with.
type symbols struct{ bullet, bar, rule, column, cross string }

func newLayout(p *Page, profile Profile, values placeholder.Values) *layout {
	l := &layout{source: p.source, root: p.document, profile: profile, values: values}
	l.symbols = symbols{"•", "│", "─", "│", "┼"}
	if profile == Plain {
		l.symbols = symbols{"-", ">", "-", "|", "+"}
	}
	return l
}

func (l *layout) text(width int) string {
	var b strings.Builder
	for i, line := range l.blocks(l.root, width, 0, false) {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.TrimRight(line.text, " "))
	}
	return b.String()
}

// add adds lines until the layout is too large.
func (l *layout) add(to []line, lines ...line) []line {
	for _, line := range lines {
		if l.bytes += len(line.text) + 1; l.bytes > maxLayout {
			l.cut = true
			return to
		}
		to = append(to, line)
	}
	return to
}

// fail records a problem at an offset of the source.
func (l *layout) fail(offset int, err error) {
	if l.err == nil {
		offset = min(max(offset, 0), len(l.source))
		l.err = &placeholder.Error{Line: 1 + bytes.Count(l.source[:offset], []byte("\n")), Err: err}
	}
}

// value returns the value of a placeholder at an offset of the source.
func (l *layout) value(name string, offset int) string {
	if err := placeholder.Check(name); err != nil {
		l.fail(offset, err)
		return ""
	}
	if !slices.Contains(l.names, name) {
		l.names = append(l.names, name)
	}
	return clean(l.values.Value(name))
}

// clean removes control characters, which a page can hold as &#27;.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
}

func (l *layout) blocks(parent ast.Node, width, depth int, tight bool) (lines []line) {
	if depth > maxDepth {
		l.fail(parent.Pos(), errDepth)
		return nil
	}
	for n := parent.FirstChild(); n != nil && !l.cut; n = n.NextSibling() {
		text := l.block(n, width, depth)
		if len(lines) > 0 && len(text) > 0 && !tight {
			lines = l.add(lines, line{})
		}
		lines = append(lines, text...)
	}
	return lines
}

func (l *layout) block(n ast.Node, width, depth int) []line {
	switch n := n.(type) {
	case *ast.Paragraph, *ast.TextBlock:
		return l.wrap(l.inline(n, 0, depth), width)
	case *ast.Heading:
		return l.heading(n, width, depth)
	case *ast.CodeBlock, *ast.FencedCodeBlock:
		return l.code(n)
	case *ast.Blockquote:
		bar := line{l.symbols.bar + " ", 2}
		return l.prefix(bar, bar, l.blocks(n, inner(width, bar), depth+1, false))
	case *ast.List:
		return l.list(n, width, depth)
	case *ast.ThematicBreak:
		return l.add(nil, line{strings.Repeat(l.symbols.rule, width), width})
	case *tables.Table:
		return l.table(n, width, depth)
	}
	return nil // the definition of a link
}

// heading underlines the first two levels where no style shows them.
func (l *layout) heading(n *ast.Heading, width, depth int) []line {
	lines := l.wrap(l.inline(n, bold|asHeading, depth), width)
	if l.profile != Plain || n.Level > 2 {
		return lines
	}
	widest := 0
	for _, line := range lines {
		widest = max(widest, line.width)
	}
	return l.add(lines, line{strings.Repeat([]string{"=", "-"}[n.Level-1], widest), widest})
}

func (l *layout) code(n ast.Node) (lines []line) {
	for _, segment := range n.Lines().Sliced(0, n.Lines().Len()) {
		var text strings.Builder
		for _, p := range l.literal(strings.TrimRight(string(segment.Value(l.source)), "\n"), segment.Start, 0) {
			text.WriteString(strings.ReplaceAll(p.text, "\t", "    "))
		}
		width := ansi.StringWidth(text.String())
		lines = l.add(lines, line{"    " + l.show([]piece{{text: text.String(), style: asCode}}), 4 + width})
	}
	return lines
}

func (l *layout) list(n *ast.List, width, depth int) (lines []line) {
	last := strconv.Itoa(n.Start + n.ChildCount() - 1)
	number := n.Start
	for item := n.FirstChild(); item != nil && !l.cut; item = item.NextSibling() {
		marker := l.symbols.bullet
		if n.IsOrdered() {
			marker = strconv.Itoa(number) + "."
			marker += strings.Repeat(" ", max(len(last)+1-len(marker), 0))
		}
		first := line{marker + " ", ansi.StringWidth(marker) + 1}
		rest := line{strings.Repeat(" ", first.width), first.width}
		text := l.blocks(item, inner(width, first), depth+1, n.IsTight)
		if len(text) == 0 {
			text = []line{{}}
		}
		if number > n.Start && !n.IsTight {
			lines = l.add(lines, line{})
		}
		lines = append(lines, l.prefix(first, rest, text)...)
		number++
	}
	return lines
}

// inner returns the width behind a prefix. Deep in quotes and lists, lines become wider than the terminal instead of very
// narrow.
func inner(width int, prefix line) int { return max(width-prefix.width, MinWidth/2) }

// prefix puts first in front of the first line, and rest in front of the others.
func (l *layout) prefix(first, rest line, lines []line) (prefixed []line) {
	before := first
	for _, text := range lines {
		prefixed = l.add(prefixed, line{before.text + text.text, before.width + text.width})
		before = rest
	}
	return prefixed
}

// wrap returns the lines of pieces.
func (l *layout) wrap(pieces []piece, width int) []line {
	w := wrapper{layout: l, width: width}
	for _, p := range pieces {
		if l.cut {
			break
		}
		w.add(p)
	}
	w.endWord()
	if len(w.line) > 0 {
		w.endLine()
	}
	return w.lines
}
