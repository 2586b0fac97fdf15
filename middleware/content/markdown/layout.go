package markdown

import (
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"foyer/middleware/content/placeholder"
)

// symbols are what a profile draws with.
type symbols struct{ bullet, bar, rule, column, cross string }

// layout is one layout of a page that is being made.
type layout struct {
	profile Profile
	values  placeholder.Values
	symbols symbols
	bytes   int // of all lines that were added; those in quotes and lists count once for each level
	cut     bool
}

// Layout returns the page for a terminal of width columns. Lines end in a line feed, except the last one.
func (p *Page) Layout(width int, profile Profile, values placeholder.Values) string {
	text, _ := p.layout(width, profile, values)
	return text
}

// layout also reports whether the layout was cut because it is too large.
func (p *Page) layout(width int, profile Profile, values placeholder.Values) (text string, cut bool) {
	l := &layout{profile: profile, values: values, symbols: symbols{"•", "│", "─", "│", "┼"}}
	if profile == Plain {
		l.symbols = symbols{"-", ">", "-", "|", "+"}
	}
	var b strings.Builder
	for i, line := range l.blocks(p.blocks, min(max(width, MinWidth), MaxWidth), false) {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.TrimRight(line.text, " "))
	}
	return b.String(), l.cut
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

func (l *layout) blocks(blocks []block, width int, tight bool) (lines []line) {
	for i, b := range blocks {
		if l.cut {
			break
		}
		if i > 0 && !tight {
			lines = l.add(lines, line{})
		}
		lines = append(lines, l.block(b, width, tight)...)
	}
	return lines
}

func (l *layout) block(b block, width int, tight bool) []line {
	switch b.kind {
	case heading:
		return l.heading(b, width)
	case code:
		return l.code(b)
	case quote:
		bar := line{l.symbols.bar + " ", 2}
		return l.prefix(bar, bar, l.blocks(b.blocks, inner(width, bar), false))
	case list:
		return l.list(b, width)
	case item:
		return l.blocks(b.blocks, width, tight)
	case thematicBreak:
		return l.add(nil, line{strings.Repeat(l.symbols.rule, width), width})
	case table:
		return l.table(b.rows, width)
	}
	return l.wrap(b.spans, width)
}

// heading underlines the first two levels where no style shows them.
func (l *layout) heading(b block, width int) []line {
	lines := l.wrap(b.spans, width)
	if l.profile != Plain || b.level > 2 {
		return lines
	}
	widest := 0
	for _, line := range lines {
		widest = max(widest, line.width)
	}
	return l.add(lines, line{strings.Repeat([]string{"=", "-"}[b.level-1], widest), widest})
}

func (l *layout) code(b block) (lines []line) {
	text := clean(placeholder.Replace(b.code, l.values))
	for text := range strings.SplitSeq(text, "\n") {
		text = strings.ReplaceAll(text, "\t", "    ")
		width := ansi.StringWidth(text)
		lines = l.add(lines, line{"    " + l.show([]piece{{text: text, style: asCode}}), 4 + width})
	}
	return lines
}

func (l *layout) list(b block, width int) (lines []line) {
	last := strconv.Itoa(b.number + len(b.blocks) - 1)
	for i, item := range b.blocks {
		marker := l.symbols.bullet
		if b.ordered {
			marker = strconv.Itoa(b.number+i) + "."
			marker += strings.Repeat(" ", max(len(last)+1-len(marker), 0))
		}
		first := line{marker + " ", ansi.StringWidth(marker) + 1}
		rest := line{strings.Repeat(" ", first.width), first.width}
		if i > 0 && !b.tight {
			lines = l.add(lines, line{})
		}
		text := l.block(item, inner(width, first), b.tight)
		if len(text) == 0 {
			text = []line{{}}
		}
		lines = append(lines, l.prefix(first, rest, text)...)
	}
	return lines
}

// inner returns the width behind a prefix. Deep in quotes and lists, lines become wider than the terminal instead of very
// narrow.
func inner(width int, prefix line) int { return max(width-prefix.width, MinWidth/2) }

// prefix puts first in front of the first line, and rest in front of the others.
func (l *layout) prefix(first, rest line, lines []line) (prefixed []line) {
	for i, text := range lines {
		before := rest
		if i == 0 {
			before = first
		}
		prefixed = l.add(prefixed, line{before.text + text.text, before.width + text.width})
	}
	return prefixed
}

// wrap returns the lines of spans.
func (l *layout) wrap(spans []span, width int) []line {
	w := wrapper{layout: l, width: width}
	for _, s := range spans {
		if l.cut {
			break
		}
		if s.only != 0 && s.only&all(l.profile) == 0 {
			continue
		}
		p := piece{text: s.Text, style: s.style}
		if s.Name != "" {
			p.text = clean(l.values.Value(s.Name))
		}
		if s.shown != nil {
			p.text = s.shown.text(l.values)
		}
		if l.profile == Links {
			p.address = s.link.text(l.values)
		}
		w.add(p)
	}
	w.endWord()
	if len(w.line) > 0 {
		w.endLine()
	}
	return w.lines
}

// show returns pieces with their escape sequences.
func (l *layout) show(pieces []piece) string {
	var b, run strings.Builder
	for i, p := range pieces {
		run.WriteString(p.text)
		if i+1 < len(pieces) && p.like(pieces[i+1]) {
			continue
		}
		text := run.String()
		run.Reset()
		if l.profile != Plain && p.style != 0 {
			text = p.style.sgr().Styled(text)
		}
		if p.address != "" {
			text = ansi.SetHyperlink(p.address) + text + ansi.ResetHyperlink()
		}
		b.WriteString(text)
	}
	return b.String()
}

// sgr returns the escape sequence of a style. The colours are legible on dark and on light backgrounds.
func (s style) sgr() (sgr ansi.Style) {
	if s&bold != 0 {
		sgr = sgr.Bold()
	}
	if s&italic != 0 {
		sgr = sgr.Italic(true)
	}
	if s&underlined != 0 {
		sgr = sgr.Underline(true)
	}
	switch {
	case s&asCode != 0:
		sgr = sgr.ForegroundColor(ansi.Cyan)
	case s&asHeading != 0:
		sgr = sgr.ForegroundColor(ansi.Magenta)
	}
	return sgr
}
