package markdown

import (
	"math"
	"strings"

	tables "github.com/yuin/goldmark/extension/ast"
)

// minColumn is the width that every column of a table gets at least. Where there is less room, a table is shown as a list.
const minColumn = 4

func (l *layout) table(rows [][]cell, width int) (lines []line) {
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
	measure := &layout{profile: l.profile, values: l.values}
	columns := make([]int, len(rows[0]))
	sum := 0
	for i := range columns {
		for _, row := range rows {
			for _, line := range measure.wrap(row[i].spans, math.MaxInt) {
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
		texts[i] = l.wrap(cell.spans, max(columns[i], 1))
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
			spans := append([]span{}, rows[0][i].spans...)
			spans = append(spans, literal(": ", 0))
			lines = append(lines, l.wrap(append(spans, cell.spans...), width)...)
		}
	}
	return lines
}
