package markdown

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// line is one line of a layout.
type line struct {
	text  string
	width int // in cells of the terminal
}

// piece is a text in one style.
type piece struct {
	text    string
	style   style
	address string // where it leads
}

func (p piece) like(other piece) bool { return p.style == other.style && p.address == other.address }

// wrapper breaks pieces into lines at spaces, on both sides of wide characters and, where a word is wider than a line, within
// it.
type wrapper struct {
	layout    *layout
	width     int
	lines     []line
	line      []piece
	column    int // the width of line
	word      []piece
	wordWidth int
	space     bool // there is a space before the word
}

// add adds a piece of text. A line feed is a break.
func (w *wrapper) add(p piece) {
	start, at := 0, 0
	flush := func() {
		if start < at {
			w.word = append(w.word, piece{p.text[start:at], p.style, p.address})
		}
		start = at
	}
	for at < len(p.text) {
		cluster, width := ansi.FirstGraphemeCluster(p.text[at:], ansi.GraphemeWidth)
		blank := strings.ContainsAny(cluster[:1], " \t\n")
		if blank || width > 1 {
			flush()
			w.endWord()
		}
		at += len(cluster)
		switch {
		case cluster == "\n":
			w.endLine()
		case blank:
			w.space = true
		default:
			w.wordWidth += width
		}
		if blank {
			start = at
		} else if width > 1 {
			flush()
			w.endWord()
		}
	}
	flush()
}

// endWord moves the word to the line, or to the next line if this one has no room for it.
func (w *wrapper) endWord() {
	if len(w.word) == 0 {
		return
	}
	space := 0
	if w.space && w.column > 0 {
		space = 1
	}
	if w.column > 0 && w.column+space+w.wordWidth > w.width {
		w.endLine()
		space = 0
	}
	if space == 1 {
		gap := piece{text: " "}
		if last := w.line[len(w.line)-1]; last.like(w.word[0]) {
			gap = piece{" ", last.style, last.address}
		}
		w.put(gap, 1)
	}
	for _, p := range w.word {
		w.place(p)
	}
	w.word, w.wordWidth, w.space = w.word[:0], 0, false
}

// place puts a piece of a word that is wider than a line on as many lines as it needs.
func (w *wrapper) place(p piece) {
	if w.wordWidth <= w.width {
		w.put(p, ansi.StringWidth(p.text))
		return
	}
	for p.text != "" {
		at, width := 0, 0
		for at < len(p.text) {
			cluster, cells := ansi.FirstGraphemeCluster(p.text[at:], ansi.GraphemeWidth)
			if w.column+width+cells > w.width && w.column+width > 0 {
				break
			}
			at, width = at+len(cluster), width+cells
		}
		w.put(piece{p.text[:at], p.style, p.address}, width)
		if p.text = p.text[at:]; p.text != "" {
			w.endLine()
		}
	}
}

func (w *wrapper) put(p piece, width int) {
	if p.text != "" {
		w.line = append(w.line, p)
		w.column += width
	}
}

func (w *wrapper) endLine() {
	w.lines = w.layout.add(w.lines, line{w.layout.show(w.line), w.column})
	w.line, w.column, w.space = w.line[:0], 0, false
}
