// Package settings holds the settings of a program. Each is a flag, an environment variable and a key of a TOML file with the
// same name: --log-level, FOYER_LOG_LEVEL, and log-level in the table [log]. The flag wins over the variable, the variable
// over the file, and the file over the default.
package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"foyer/cmd/cli"
)

// Setting is one setting. Its Value holds the default until it is set. What kind of TOML value its key has follows from the
// Value: an array if it is a [pflag.SliceValue], an integer if it is a [Ranged], a boolean if its type is "bool", and
// otherwise a string. Set must accept what String returns.
type Setting struct {
	Name     string
	Value    pflag.Value
	Help     string
	Example  string // a value for the example file, if the default is empty
	Everyday bool   // the short help shows it
	Restart  bool   // a running server cannot change it
}

// Ranged is the [pflag.Value] of an integer.
type Ranged interface {
	pflag.Value
	Range() (least, most int)
}

// Group is the settings under one heading of the help and in one table of the file.
type Group struct {
	Heading  string
	Table    string // "" for the top of the file
	Settings []Setting
}

// Set is all settings of a program.
type Set struct {
	// HasFile is whether Load has read a file.
	HasFile bool

	prefix  string // of the environment variables
	groups  []Group
	values  map[string]*value
	tables  []Table
	entries []*Entry // of the file
}

// value is where a setting has its value from.
type value struct {
	Setting
	table    string
	original string // the default
	origin   string // "--listen", "FOYER_LISTEN" or "foyer.toml:12"; "" for the default
}

// New returns the settings of these groups. Their environment variables begin with prefix.
func New(prefix string, groups ...Group) *Set {
	s := &Set{prefix: prefix, groups: groups, values: map[string]*value{}}
	for _, group := range groups {
		for _, setting := range group.Settings {
			s.values[setting.Name] = &value{Setting: setting, table: group.Table, original: setting.Value.String()}
		}
	}
	return s
}

// AddFlags adds the flags of the named settings to fs, or of all settings if there is no name.
func (s *Set) AddFlags(fs *pflag.FlagSet, names ...string) {
	for _, group := range s.groups {
		cli.Group(fs, group.Heading, func(fs *pflag.FlagSet) {
			for _, setting := range group.Settings {
				if len(names) > 0 && !slices.Contains(names, setting.Name) {
					continue
				}
				flag := fs.VarPF(setting.Value, setting.Name, "", setting.Help)
				if setting.Value.Type() == "bool" {
					flag.NoOptDefVal = "true"
				}
				if len(names) == 0 && !setting.Everyday {
					cli.MarkRare(flag)
				}
			}
		})
	}
}

// Load sets the values that the flags in fs do not: from the environment, and from the file at path, which may be missing
// unless required is set. It returns all problems. Values that are valid are set nevertheless. Empty variables are ignored,
// because compose files create them. Other variables with the prefix are ignored too, because Kubernetes creates some for a
// service of that name.
func (s *Set) Load(fs *pflag.FlagSet, getenv func(string) string, path string, required bool) (problems []error) {
	fs.VisitAll(func(f *pflag.Flag) {
		if value := s.values[f.Name]; value != nil && f.Changed {
			value.origin = "--" + f.Name
		}
	})
	for _, value := range s.all() {
		name := cli.Variable(s.prefix, value.Name)
		text := getenv(name)
		if text == "" || value.origin != "" {
			continue
		}
		value.origin = name
		if err := value.Value.Set(text); err != nil {
			err = cli.BadValue(value.Value, text, err)
			problems = append(problems, cli.Usage(fmt.Errorf("environment variable %s: %w", name, err)))
		}
	}
	file, err := readFile(path, required)
	s.HasFile = err == nil && file.path != ""
	if err != nil {
		return append(problems, err)
	}
	return append(problems, s.apply(file)...)
}

// apply sets the values that a file has.
func (s *Set) apply(file *file) []error {
	entries, problems := s.readEntries(file)
	s.entries = entries
	problems = append(file.problems, problems...)
	for _, key := range file.keys {
		if s.table(key.path[0]) != nil {
			continue
		}
		if err := s.applyKey(file, key); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

func (s *Set) applyKey(file *file, key key) error {
	value, err := s.find(key.path)
	if err != nil {
		return file.problem(key.keyAt, err)
	}
	texts, err := value.texts(key.value)
	if err != nil {
		return file.problem(key.valueAt, err)
	}
	target := value.Value
	if value.origin != "" { // a flag or a variable wins; what the file says must be valid nevertheless
		defer value.restore(value.Value.String())
	} else {
		value.origin = fmt.Sprintf("%s:%d", file.path, key.keyAt.line)
	}
	if list, ok := target.(pflag.SliceValue); ok {
		err = list.Replace(texts)
	} else {
		err = target.Set(texts[0])
	}
	if err != nil {
		return file.problem(key.valueAt, fmt.Errorf("%s: %w", value.Name, cli.BadValue(target, texts[0], err)))
	}
	return nil
}

// restore sets the value to what String has returned.
func (v *value) restore(text string) {
	if list, ok := v.Value.(pflag.SliceValue); ok {
		_ = list.Replace(split(text))
		return
	}
	_ = v.Value.Set(text)
}

// split splits what String of a list returns.
func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// find returns the setting with this path.
func (s *Set) find(path []string) (*value, error) {
	name := path[len(path)-1]
	if value := s.values[name]; value != nil {
		if want := value.path(); !slices.Equal(want, path) {
			return nil, cli.With(fmt.Errorf("%s is not in this table", name), "its place is "+strings.Join(want, "."))
		}
		return value, nil
	}
	err := fmt.Errorf("unknown setting %q", strings.Join(path, "."))
	if near := s.table(nearest(path[0], s.tableNames())); near != nil {
		return nil, cli.With(err, "did you mean "+near.header()+"?")
	}
	if near := nearest(name, s.names()); near != "" {
		return nil, cli.With(err, "did you mean "+near+"?")
	}
	return nil, cli.With(err, "run: foyer help settings")
}

func (v *value) path() []string {
	if v.table == "" {
		return []string{v.Name}
	}
	return []string{v.table, v.Name}
}

// texts returns what the flag would have for a value of the file.
func (v *value) texts(from any) ([]string, error) {
	list, isList := from.([]any)
	_, wantList := v.Value.(pflag.SliceValue)
	if isList != wantList && (isList || v.kind() != Strings) {
		return nil, fmt.Errorf("%s must be %s", v.Name, v.kind())
	}
	if !isList {
		list = []any{from}
	}
	texts := make([]string, len(list))
	for i, element := range list {
		var ok bool
		switch v.kind() {
		case Strings, String:
			texts[i], ok = element.(string)
		case Integer:
			_, ok = element.(int64)
			texts[i] = fmt.Sprint(element)
		case Boolean:
			_, ok = element.(bool)
			texts[i] = fmt.Sprint(element)
		}
		if !ok {
			return nil, fmt.Errorf("%s must be %s", v.Name, v.kind())
		}
	}
	return texts, nil
}

// Kind is what a key has as its value.
type Kind string

// The kinds.
const (
	String  Kind = "a string"
	Integer Kind = "an integer"
	Boolean Kind = "true or false"
	Strings Kind = "a string or an array of strings"
	Time    Kind = "a time with its offset from UTC"
)

func (v *value) kind() Kind {
	switch v.Value.(type) {
	case pflag.SliceValue:
		return Strings
	case Ranged:
		return Integer
	}
	if v.Value.Type() == "bool" {
		return Boolean
	}
	return String
}

// all returns the values in the order of the groups.
func (s *Set) all() (values []*value) {
	for _, group := range s.groups {
		for _, setting := range group.Settings {
			values = append(values, s.values[setting.Name])
		}
	}
	return values
}

func (s *Set) names() (names []string) {
	for _, value := range s.all() {
		names = append(names, value.Name)
	}
	return names
}

// Inherit sets the values that were set by flags in last. It is for reading the settings again while the program runs.
func (s *Set) Inherit(last *Set) {
	for name, value := range last.values {
		if strings.HasPrefix(value.origin, "--") {
			s.values[name].restore(value.Value.String())
			s.values[name].origin = value.origin
		}
	}
}

// IsDefault reports whether nothing has set a setting.
func (s *Set) IsDefault(name string) bool { return s.values[name].origin == "" }

// Change is a setting whose value has changed.
type Change struct {
	Setting
	Old, New string
}

// Changes returns the settings that differ in next.
func (s *Set) Changes(next *Set) (changes []Change) {
	for _, value := range s.all() {
		old, now := value.Value.String(), next.values[value.Name].Value.String()
		if old != now {
			changes = append(changes, Change{next.values[value.Name].Setting, old, now})
		}
	}
	return changes
}
