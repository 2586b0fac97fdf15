package passwords

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// line is one line of the file, with its ending apart so that an edit can keep it.
type line struct {
	num       int
	text, end string
}

// entry is a line that names a user.
type entry struct {
	name string
	num  int
	secret
}

// table is the meaning of one version of the file.
type table struct {
	entries []entry
	byName  map[string]entry
	logins  logins
}

// split cuts data into lines, without the byte order mark that Windows editors put first.
func split(data string) []line {
	var lines []line
	for raw := range strings.Lines(strings.TrimPrefix(data, "\ufeff")) {
		text := strings.TrimSuffix(strings.TrimSuffix(raw, "\n"), "\r")
		lines = append(lines, line{len(lines) + 1, text, raw[len(text):]})
	}
	return lines
}

func join(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text + l.end)
	}
	return b.String()
}

// comment reports whether l is blank or a remark.
func (l line) comment() bool {
	text := strings.TrimSpace(l.text)
	return text == "" || text[0] == '#'
}

// isOf reports whether l is the line of user, whatever its secret.
func (l line) isOf(user string) bool {
	name, _, found := strings.Cut(l.text, ":")
	return found && name == user && !l.comment()
}

func (l line) entry() (entry, error) {
	name, text, found := strings.Cut(l.text, ":")
	if !found {
		return entry{}, errors.New("no colon: a line is user:secret") // the text may be a password: not shown
	}
	if err := checkName(name); err != nil {
		return entry{}, err
	}
	s, err := parseSecret(text)
	if err != nil {
		return entry{}, fmt.Errorf("user %q: %w", name, err)
	}
	return entry{name, l.num, s}, nil
}

func checkName(name string) error {
	odd := func(r rune) bool { return r == ':' || unicode.IsSpace(r) || unicode.IsControl(r) }
	switch {
	case name == "":
		return errors.New("empty user name")
	case len(name) > maxName:
		return fmt.Errorf("user name of %d bytes, at most %d are allowed", len(name), maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("user name %q is not UTF-8", name)
	case strings.ContainsFunc(name, odd):
		return fmt.Errorf("user name %q has white space, a control character or a colon in it", name)
	case name[0] == '#':
		return fmt.Errorf("user name %q would read as a comment", name)
	}
	return nil
}

// parse reads lines, plain-text secrets included. It hashes nothing, and what it accepts is safe to hash.
func parse(path string, lines []line) (*table, error) {
	t := &table{byName: map[string]entry{}}
	for _, l := range lines {
		if l.comment() {
			continue
		}
		e, err := l.entry()
		if err == nil {
			err = t.add(e)
		}
		if err != nil {
			return nil, &Error{Path: path, Line: l.num, Err: err}
		}
	}
	return t, nil
}

func (t *table) add(e entry) error {
	if first, taken := t.byName[e.name]; taken {
		return fmt.Errorf("user %q is on line %d already", e.name, first.num)
	}
	t.entries = append(t.entries, e)
	t.byName[e.name] = e
	return nil
}

// lookup returns the secret of user or, for one who is not there, that of the user whom deal picks: an unknown name is
// of the kind that a known one would be, as often as a known one is. In an empty file there is no secret to keep.
func (t *table) lookup(user string, deal uint64) (s secret, known bool) {
	e, known := t.byName[user]
	switch {
	case known:
		return e.secret, true
	case len(t.entries) == 0:
		return plainSecret(""), false
	}
	return t.entries[deal%uint64(len(t.entries))].secret, false
}

// load is parse for a server: it refuses plain text unless that was asked for.
func load(path, data string, plaintext bool) (*table, error) {
	t, err := parse(path, split(data))
	if err != nil || plaintext {
		return t, err
	}
	if i := slices.IndexFunc(t.entries, func(e entry) bool { return e.plain() }); i >= 0 {
		e := t.entries[i]
		err := fmt.Errorf("the password of %q is plain text", e.name)
		return nil, &Error{Path: path, Line: e.num, Err: err, Fix: hashRemedy(path)}
	}
	return t, nil
}
