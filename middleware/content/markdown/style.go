package markdown

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// style is a set of ways to show a text.
type style uint8

const (
	bold style = 1 << iota
	italic
	underlined
	asCode
	asHeading
)

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
		if p.address != "" && l.profile == Links {
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
