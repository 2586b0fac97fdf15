package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"foyer/middleware/eventlog/sanitize"
	"foyer/middleware/watchfile"
)

// maxFile is the largest file, in bytes.
const maxFile = 1 << 20

// file is a parsed file.
type file struct {
	path     string
	lines    []string
	headers  []header
	keys     []key
	problems []error
}

// header is the line of a file that begins a table.
type header struct {
	path    []string
	several bool // [[path]]
	at      position
}

// key is a key of a file with its value, which is a string, int64, bool, [time.Time], localTime or []any of those, or nil.
type key struct {
	path           []string
	value          any
	keyAt, valueAt position
	header         int // how many headers are before it
}

// localTime is a date or a time without its offset from UTC.
type localTime string

type position struct{ line, column int } // from 1

// Problem is a problem in a line of a file.
type Problem struct {
	Path         string
	Line, Column int
	Err          error
	Source       string // the line
}

func (p *Problem) Error() string { return fmt.Sprintf("%s:%d:%d: %v", p.Path, p.Line, p.Column, p.Err) }

// Unwrap returns the cause, which may have a hint.
func (p *Problem) Unwrap() error { return p.Err }

// Excerpt returns the line, and below it a mark at the column.
func (p *Problem) Excerpt() string {
	number := strconv.Itoa(p.Line)
	return fmt.Sprintf("%s | %s\n%s | %s^", number, p.Source, strings.Repeat(" ", len(number)), strings.Repeat(" ", p.Column-1))
}

// problem returns err as a problem at a position.
func (f *file) problem(at position, err error) error {
	p := &Problem{Path: f.path, Line: at.line, Column: at.column, Err: err}
	if at.line <= len(f.lines) {
		p.Source = sanitize.String(strings.ReplaceAll(f.lines[at.line-1], "\t", " "), 200)
	}
	return p
}

// readFile reads the file at path. A missing one is empty unless it is required.
func readFile(path string, required bool) (*file, error) {
	if _, err := os.Lstat(path); !required && errors.Is(err, fs.ErrNotExist) {
		return &file{}, nil // also in a directory of another user
	}
	data, err := watchfile.ReadFile(path, maxFile, watchfile.OthersWrite)
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	return parse(path, []byte(data)), nil
}

// parse parses a file. After an error of its syntax, the rest of it is not looked at.
func parse(path string, data []byte) *file {
	f := &file{path: path, lines: strings.Split(string(data), "\n")}
	p := &parser{file: f}
	p.Reset(data)
	for p.NextExpression() {
		p.expression(p.Expression())
	}
	// Unmarshal also finds keys and tables that are defined twice.
	var all map[string]any
	if invalid, ok := errors.AsType[*toml.DecodeError](toml.Unmarshal(data, &all)); ok {
		var at position
		at.line, at.column = invalid.Position()
		text := strings.TrimPrefix(invalid.Error(), "toml: ")
		f.problems = append(f.problems, f.problem(at, errors.New(sanitize.String(text, 200))))
	}
	return f
}

// parser walks over the expressions of a file.
type parser struct {
	unstable.Parser
	file  *file
	table []string // of the keys that follow
}

func (p *parser) expression(e *unstable.Node) {
	switch e.Kind {
	case unstable.Table, unstable.ArrayTable:
		var at position
		p.table, at = p.path(e)
		p.file.headers = append(p.file.headers, header{p.table, e.Kind == unstable.ArrayTable, at})
	case unstable.KeyValue:
		p.keyValue(p.table, e)
	}
}

// keyValue adds a key, or the keys of an inline table.
func (p *parser) keyValue(table []string, e *unstable.Node) {
	name, at := p.path(e)
	path, node := slices.Concat(table, name), e.Value()
	if node.Kind == unstable.InlineTable {
		for children := node.Children(); children.Next(); {
			p.keyValue(path, children.Node())
		}
		return
	}
	valueAt := at
	if node.Raw.Length > 0 { // not an array
		valueAt = p.position(node)
	}
	p.file.keys = append(p.file.keys, key{path, valueOf(node), at, valueAt, len(p.file.headers)})
}

func (p *parser) path(e *unstable.Node) (path []string, at position) {
	for keys := e.Key(); keys.Next(); {
		if path = append(path, string(keys.Node().Data)); len(path) == 1 {
			at = p.position(keys.Node())
		}
	}
	return path, at
}

// position returns where a node begins. The column counts characters, as editors do.
func (p *parser) position(node *unstable.Node) position {
	begin := int(node.Raw.Offset)
	lineStart := bytes.LastIndexByte(p.Data()[:begin], '\n') + 1
	return position{
		line:   bytes.Count(p.Data()[:begin], []byte{'\n'}) + 1,
		column: len([]rune(string(p.Data()[lineStart:begin]))) + 1,
	}
}

// valueOf returns the value of a node, or nil for a kind that no setting has.
func valueOf(node *unstable.Node) any {
	var value any
	var err error
	switch node.Kind {
	case unstable.String:
		return string(node.Data)
	case unstable.Bool:
		return string(node.Data) == "true"
	case unstable.Integer:
		value, err = strconv.ParseInt(strings.TrimPrefix(string(node.Data), "+"), 0, 64)
	case unstable.DateTime:
		value, err = time.Parse(time.RFC3339, strings.Replace(string(node.Data), " ", "T", 1))
	case unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime:
		return localTime(node.Data)
	case unstable.Array:
		values := []any{}
		for children := node.Children(); children.Next(); {
			values = append(values, valueOf(children.Node()))
		}
		return values
	}
	if err != nil {
		return nil
	}
	return value
}

// nearest returns the name that differs least from a misspelt one, or "" if all differ in more than a third.
func nearest(misspelt string, names []string) string {
	best, least := "", len(misspelt)/3+1
	for _, name := range names {
		if d := distance(misspelt, name); d <= least {
			best, least = name, d-1
		}
	}
	return best
}

// distance returns how many characters must be added, removed or replaced to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
