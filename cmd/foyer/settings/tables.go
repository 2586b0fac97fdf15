package settings

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"foyer/cmd/cli"
)

// Table is a table of the file whose keys are not settings, such as [[answer]]: they are neither flags nor variables.
type Table struct {
	Name    string
	Help    string
	Several bool  // written as [[name]], once for each entry
	Keys    []Key // one without a name stands for any other name
}

// Key is a key of a [Table].
type Key struct {
	Name    string
	Kind    Kind
	Help    string
	Example string // in TOML's form
}

// Entry is a table of the file, as it was written.
type Entry struct {
	table  *Table
	file   *file
	at     position
	header int
	keys   []key
}

// AddTables makes the file accept these tables.
func (s *Set) AddTables(tables ...Table) { s.tables = append(s.tables, tables...) }

// Entries returns the entries of a table that the file has, in their order.
func (s *Set) Entries(table string) (entries []*Entry) {
	for _, e := range s.entries {
		if e.table.Name == table {
			entries = append(entries, e)
		}
	}
	return entries
}

// ChangedTables returns the names of the tables that differ in next.
func (s *Set) ChangedTables(next *Set) (names []string) {
	for _, table := range s.tables {
		if s.literal(table.Name) != next.literal(table.Name) {
			names = append(names, table.Name)
		}
	}
	return names
}

// literal returns the entries of a table in TOML's form, without their places.
func (s *Set) literal(table string) string {
	var text strings.Builder
	for _, e := range s.Entries(table) {
		fmt.Fprintln(&text, e.table.header())
		e.printKeys(&text)
	}
	return text.String()
}

// Problem returns err as a problem at a place that At of an entry has returned.
func (s *Set) Problem(at string, err error) error {
	for _, e := range s.entries {
		for _, name := range append(e.Names(), "") {
			if e.At(name) == at {
				return e.Problem(name, err)
			}
		}
	}
	return err
}

func (s *Set) table(name string) *Table {
	if i := slices.Index(s.tableNames(), name); i >= 0 {
		return &s.tables[i]
	}
	return nil
}

func (s *Set) tableNames() (names []string) {
	for _, table := range s.tables {
		names = append(names, table.Name)
	}
	return names
}

// header returns how the table begins in a file.
func (t *Table) header() string {
	if t.Several {
		return "[[" + t.Name + "]]"
	}
	return "[" + t.Name + "]"
}

// readEntries returns the entries of all tables, and their problems.
func (s *Set) readEntries(f *file) (entries []*Entry, problems []error) {
	entry := func(table *Table, header int, at position) *Entry {
		for _, e := range entries {
			if e.table == table && (!table.Several || e.header == header) {
				return e
			}
		}
		entries = append(entries, &Entry{table: table, file: f, at: at, header: header})
		return entries[len(entries)-1]
	}
	for i, header := range f.headers {
		table := s.table(header.path[0])
		switch {
		case table == nil:
		case len(header.path) > 1 || header.several != table.Several:
			problems = append(problems, f.problem(header.at, fmt.Errorf("write %s", table.header())))
		default:
			entry(table, i+1, header.at)
		}
	}
	for _, key := range f.keys {
		table := s.table(key.path[0])
		if table == nil {
			continue
		}
		err := table.checkKey(f, key)
		if err == nil {
			e := entry(table, key.header, key.keyAt)
			e.keys = append(e.keys, key)
		} else {
			problems = append(problems, err)
		}
	}
	return entries, problems
}

// checkKey returns an error if the table has no such key, or if its value is of another kind.
func (t *Table) checkKey(f *file, key key) error {
	inline := key.header == 0 || f.headers[key.header-1].path[0] != t.Name
	if len(key.path) == 1 || t.Several && inline {
		return f.problem(key.keyAt, fmt.Errorf("%s is a table: write %s", t.Name, t.header()))
	}
	name := key.path[1]
	known := t.key(name)
	if known == nil || len(key.path) > 2 {
		err := fmt.Errorf("unknown key %q in %s", strings.Join(key.path[1:], "."), t.header())
		if near := nearest(name, t.keyNames()); near != "" {
			return f.problem(key.keyAt, cli.With(err, "did you mean "+near+"?"))
		}
		return f.problem(key.keyAt, cli.With(err, "it has: "+strings.Join(t.keyNames(), ", ")))
	}
	if local, ok := key.value.(localTime); ok && known.Kind == Time {
		err := fmt.Errorf("%s must be %s", name, Time)
		return f.problem(key.valueAt, cli.With(err, "in UTC: "+local.inUTC()))
	}
	if !known.Kind.fits(key.value) {
		return f.problem(key.valueAt, fmt.Errorf("%s must be %s", name, known.Kind))
	}
	return nil
}

// inUTC returns an example of the time with its offset.
func (l localTime) inUTC() string {
	if !strings.Contains(string(l), "-") {
		return "2026-12-06T" + string(l) + "Z"
	}
	if !strings.Contains(string(l), ":") {
		return string(l) + "T00:00:00Z"
	}
	return string(l) + "Z"
}

func (t *Table) keyNames() (names []string) {
	for _, key := range t.Keys {
		names = append(names, key.Name)
	}
	return names
}

func (t *Table) key(name string) *Key {
	for i, key := range t.Keys {
		if key.Name == name || key.Name == "" {
			return &t.Keys[i]
		}
	}
	return nil
}

func (k Kind) fits(value any) (fits bool) {
	switch k {
	case String:
		_, fits = value.(string)
	case Integer:
		_, fits = value.(int64)
	case Boolean:
		_, fits = value.(bool)
	case Time:
		_, fits = value.(time.Time)
	case Strings:
		_, ok := stringsOf(value)
		return ok
	}
	return fits
}

func stringsOf(value any) (texts []string, ok bool) {
	list, isList := value.([]any)
	if !isList {
		list = []any{value}
	}
	for _, element := range list {
		text, ok := element.(string)
		if !ok {
			return nil, false
		}
		texts = append(texts, text)
	}
	return texts, true
}

// Names returns the keys that are set.
func (e *Entry) Names() (names []string) {
	for _, key := range e.keys {
		names = append(names, key.path[1])
	}
	return names
}

func (e *Entry) find(name string) (key, bool) {
	i := slices.Index(e.Names(), name)
	if i < 0 {
		return key{valueAt: e.at}, false
	}
	return e.keys[i], true
}

// At returns where a key's value is, such as "foyer.toml:12:8", or where the entry begins if the key is not set.
func (e *Entry) At(name string) string {
	key, _ := e.find(name)
	return fmt.Sprintf("%s:%d:%d", e.file.path, key.valueAt.line, key.valueAt.column)
}

// Problem returns err as a problem of a key's value, or of the entry if the key is not set.
func (e *Entry) Problem(name string, err error) error {
	key, _ := e.find(name)
	return e.file.problem(key.valueAt, err)
}

// Strings returns the value of a key of the kind Strings.
func (e *Entry) Strings(name string) []string {
	key, ok := e.find(name)
	if !ok {
		return nil
	}
	texts, _ := stringsOf(key.value)
	return texts
}

// Value returns the value of a key that is set: a string, an int64, a bool or a [time.Time].
func Value[T any](e *Entry, name string) (value T, ok bool) {
	key, _ := e.find(name)
	value, ok = key.value.(T)
	return value, ok
}

var bare = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (e *Entry) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s # %s:%d\n", e.table.header(), e.file.path, e.at.line)
	e.printKeys(w)
}

func (e *Entry) printKeys(w io.Writer) {
	for _, key := range e.keys {
		name := key.path[1]
		if !bare.MatchString(name) {
			name = quote(name)
		}
		fmt.Fprintf(w, "%s = %s\n", name, literalOf(key.value))
	}
}

// literalOf returns a value in TOML's form.
func literalOf(value any) string {
	switch value := value.(type) {
	case string:
		return quote(value)
	case time.Time:
		return value.Format(time.RFC3339Nano)
	case []any:
		texts, _ := stringsOf(value)
		return quoteAll(texts)
	}
	return fmt.Sprint(value)
}

func (t *Table) example(w io.Writer) {
	fmt.Fprintf(w, "\n# %s.\n#%s\n", comment(t.Help), t.header())
	for _, key := range t.Keys {
		fmt.Fprintf(w, "#%s # %s\n", key.Example, key.Help)
	}
}

func (t *Table) schema() map[string]any {
	properties := map[string]any{}
	schema := object(properties, t.Help)
	for _, key := range t.Keys {
		if key.Name == "" {
			schema["additionalProperties"] = key.Kind.schema(key.Help)
			continue
		}
		properties[key.Name] = key.Kind.schema(key.Help)
	}
	if t.Several {
		return map[string]any{"type": "array", "items": schema, "description": t.Help}
	}
	return schema
}

func (k Kind) schema(help string) map[string]any {
	schema := map[string]any{"description": help}
	switch k {
	case Strings:
		schema["type"], schema["items"] = []string{"string", "array"}, map[string]any{"type": "string"}
	case Time:
		schema["type"], schema["format"] = "string", "date-time"
	default:
		schema["type"] = map[Kind]string{String: "string", Integer: "integer", Boolean: "boolean"}[k]
	}
	return schema
}

// ParseTime parses a time as the file has it, such as 2026-12-06T04:00:00Z.
func ParseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, strings.Replace(text, " ", "T", 1))
	if err != nil {
		return t, errors.New(strconv.Quote(text) + " is not " + string(Time) + ", such as 2026-12-06T04:00:00Z")
	}
	return t, nil
}
