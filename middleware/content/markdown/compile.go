package markdown

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/yuin/goldmark/ast"
	tables "github.com/yuin/goldmark/extension/ast"

	"foyer/middleware/content/placeholder"
)

type kind uint8

const (
	paragraph kind = iota
	heading
	code
	quote
	list
	item
	thematicBreak
	table
)

// block is an element of a page that begins on a line of its own.
type block struct {
	kind    kind
	level   int                // of a heading
	number  int                // of the first item of an ordered list
	ordered bool               // a list has numbers
	tight   bool               // a list has no blank lines between its items
	spans   []span             // of a paragraph or a heading
	code    []placeholder.Part // of a block of code
	blocks  []block            // of a quote, a list or an item
	rows    [][]cell           // of a table; the first is its header
}

type cell struct {
	spans []span
	align tables.Alignment
}

// compiler makes a Page of goldmark's tree.
type compiler struct {
	source []byte
	page   *Page
	cells  int
	err    error // the first one
}

func (c *compiler) fail(offset int, err error) {
	if c.err == nil {
		offset = min(max(offset, 0), len(c.source))
		c.err = &placeholder.Error{Line: 1 + bytes.Count(c.source[:offset], []byte("\n")), Err: err}
	}
}

func (c *compiler) blocks(parent ast.Node, depth int) (blocks []block) {
	for n := parent.FirstChild(); n != nil; n = n.NextSibling() {
		if depth > maxDepth {
			c.fail(n.Pos(), errDepth)
			return nil
		}
		if b, ok := c.block(n, depth); ok {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// block returns false for what is not shown, the definition of a link.
func (c *compiler) block(n ast.Node, depth int) (block, bool) {
	switch n := n.(type) {
	case *ast.Paragraph, *ast.TextBlock:
		return block{kind: paragraph, spans: c.inline(n, 0, depth)}, true
	case *ast.Heading:
		return block{kind: heading, level: n.Level, spans: c.inline(n, bold|asHeading, depth)}, true
	case *ast.CodeBlock, *ast.FencedCodeBlock:
		return block{kind: code, code: c.code(n)}, true
	case *ast.Blockquote:
		return block{kind: quote, blocks: c.blocks(n, depth+1)}, true
	case *ast.List:
		return block{kind: list, ordered: n.IsOrdered(), number: n.Start, tight: n.IsTight, blocks: c.blocks(n, depth)}, true
	case *ast.ListItem:
		return block{kind: item, blocks: c.blocks(n, depth+1)}, true
	case *ast.ThematicBreak:
		return block{kind: thematicBreak}, true
	case *tables.Table:
		return block{kind: table, rows: c.rows(n, depth)}, true
	}
	return block{}, false
}

func (c *compiler) rows(table ast.Node, depth int) (rows [][]cell) {
	for r := table.FirstChild(); r != nil && c.err == nil; r = r.NextSibling() {
		var row []cell
		var s style
		if r.Kind() == tables.KindTableHeader {
			s = bold
		}
		for n := r.FirstChild(); n != nil; n = n.NextSibling() {
			c.cells++
			row = append(row, cell{c.inline(n, s, depth), n.(*tables.TableCell).Alignment})
		}
		if c.cells > maxCells {
			c.fail(r.Pos(), fmt.Errorf("tables have more than %d cells", maxCells))
		}
		rows = append(rows, row)
	}
	return rows
}

// code returns the lines of a block of code.
func (c *compiler) code(n ast.Node) []placeholder.Part {
	lines := n.Lines()
	text := string(lines.Value(c.source))
	offset := 0
	if lines.Len() > 0 {
		offset = lines.At(0).Start
	}
	return c.parts(strings.TrimRight(text, "\n"), offset)
}

// parts divides a text without markup.
func (c *compiler) parts(text string, offset int) []placeholder.Part {
	parts, err := placeholder.Parse(text)
	if problem, ok := errors.AsType[*placeholder.Error](err); ok {
		c.fail(offset+lineStart(text, problem.Line), problem.Err)
	}
	for i, part := range parts {
		parts[i].Text = clean(part.Text)
		c.use(part.Name)
	}
	return parts
}

// lineStart returns the offset of a line.
func lineStart(text string, line int) (offset int) {
	for range line - 1 {
		offset += strings.IndexByte(text[offset:], '\n') + 1
	}
	return offset
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

// use records that the page has the placeholder.
func (c *compiler) use(name string) {
	if name != "" && !slices.Contains(c.page.names, name) {
		c.page.names = append(c.page.names, name)
	}
}
