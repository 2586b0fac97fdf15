package markdown

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
	tables "github.com/yuin/goldmark/extension/ast"
)

// minColumn is the width that every column of a table gets at least. Where there is less room, a table is shown as a list.
const minColumn = 4

// cell is a cell of a table.
type cell struct {
	pieces []piece
	align  tables.Alignment
}

// cells returns the rows of a table. The first is its header.
func (l *layout) cells(n ast.Node, depth int) (rows [][]cell) {
	for r, s := n.FirstChild(), bold; r != nil; r, s = r.NextSibling(), 0 {
		var row []cell
		for c := r.FirstChild(); c != nil; c = c.NextSibling() {
			row = append(row, cell{l.inline(c, s, depth), c.(*tables.TableCell).Alignment})
		}
		if l.count += len(row); l.count > maxCells {
			l.fail(r.Pos(), fmt.Errorf("tables have more than %d cells", maxCells))
			break
		}
		rows = append(rows, row)
	}
	return rows
}

func (l *layout) table(n ast.Node, width, depth int) (lines []line) {
	rows := l.cells(n, depth)
	if len(rows) == 0 {
		return nil
	}
	room := width - 3*(len(rows[0])-1)
	if room < minColumn*len(rows[0]) {
		return l.records(rows, width)
	}
	columns := l.columns(rows, room)
	for i, row := range rows {
		lines = append(lines, l.row(row, columns)...)
		if i == 0 {
			rule := make([]string, len(columns))
			for i, width := range columns {
				rule[i] = strings.Repeat(l.symbols.rule, width)
			}
			lines = l.add(lines, l.join(rule, l.symbols.rule+l.symbols.cross+l.symbols.rule, columns))
		}
	}
	return lines
}

// columns returns the widths of the columns: what their texts need or, if room is less, as much as the widest can give up.
func (l *layout) columns(rows [][]cell, room int) []int {
	measure := &layout{profile: l.profile}
	columns := make([]int, len(rows[0]))
	sum := 0
	for i := range columns {
		for _, row := range rows {
			for _, line := range measure.wrap(row[i].pieces, math.MaxInt) {
				columns[i] = min(max(columns[i], line.width), room)
			}
		}
		sum += columns[i]
	}
	for ; sum > room; sum-- {
		widest := 0
		for i, width := range columns {
			if width > columns[widest] {
				widest = i
			}
		}
		columns[widest]--
	}
	return columns
}

// row returns the lines of one row.
func (l *layout) row(row []cell, columns []int) (lines []line) {
	texts := make([][]line, len(row))
	height := 0
	for i, cell := range row {
		texts[i] = l.wrap(cell.pieces, max(columns[i], 1))
		height = max(height, len(texts[i]))
	}
	for y := range height {
		line := make([]string, len(row))
		for i, cell := range row {
			line[i] = pad(texts[i], y, columns[i], cell.align)
		}
		lines = l.add(lines, l.join(line, " "+l.symbols.column+" ", columns))
	}
	return lines
}

func (l *layout) join(cells []string, separator string, columns []int) line {
	width := 3 * (len(columns) - 1)
	for _, column := range columns {
		width += column
	}
	return line{strings.Join(cells, separator), width}
}

// pad returns the line number y of a cell, as wide as its column.
func pad(lines []line, y, width int, align tables.Alignment) string {
	if y >= len(lines) {
		return strings.Repeat(" ", width)
	}
	free := max(width-lines[y].width, 0)
	left := map[tables.Alignment]int{tables.AlignRight: free, tables.AlignCenter: free / 2}[align]
	return strings.Repeat(" ", left) + lines[y].text + strings.Repeat(" ", free-left)
}

// records shows each row of a table as lines of its own, such as "Name: value".
func (l *layout) records(rows [][]cell, width int) (lines []line) {
	for i, row := range rows[1:] {
		if i > 0 {
			lines = l.add(lines, line{})
		}
		for i, cell := range row {
			pieces := slices.Concat(rows[0][i].pieces, []piece{{text: ": "}}, cell.pieces)
			lines = append(lines, l.wrap(pieces, width)...)
		}
	}
	return lines
}
