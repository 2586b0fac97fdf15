package passwords

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"foyer/middleware/auth/username"
)

// line is one line of the file, with a separate line ending so that an edit can keep it.
type line struct {
	num       int
	text, end string
}

// entry is the line of a user.
type entry struct {
	name string
	num  int
	secret
}

// table is one parsed version of the file.
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

// comment reports whether l is blank or a comment.
func (l line) comment() bool {
	text := strings.TrimSpace(l.text)
	return text == "" || text[0] == '#'
}

// isOf reports whether l is the line of user, even if its secret is invalid.
func (l line) isOf(user string) bool {
	name, _, found := strings.Cut(l.text, ":")
	return found && name == user && !l.comment()
}

func (l line) entry() (entry, error) {
	name, text, found := strings.Cut(l.text, ":")
	if !found {
		return entry{}, errors.New("no colon: a line is user:secret") // not quoted: it may be a password
	}
	if err := username.Check(name); err != nil {
		return entry{}, err
	}
	s, err := parseSecret(text)
	if err != nil {
		return entry{}, fmt.Errorf("user %q: %w", name, err)
	}
	return entry{name, l.num, s}, nil
}

// parse accepts plain-text secrets. It computes no hash, and computing those that it accepts is safe.
func parse(path string, lines []line) (*table, error) {
	t := &table{byName: map[string]entry{}}
	for _, l := range lines {
		if l.comment() {
			continue
		}
		e, err := l.entry()
		if first, taken := t.byName[e.name]; err == nil && taken {
			err = fmt.Errorf("user %q is already on line %d", e.name, first.num)
		}
		if err != nil {
			return nil, &Error{Path: path, Line: l.num, Err: err}
		}
		t.entries = append(t.entries, e)
		t.byName[e.name] = e
	}
	return t, nil
}

// lookup returns the secret of user. For an unknown user it returns the secret that pick selects, so that unknown users
// have each kind of secret as often as known ones.
func (t *table) lookup(user string, pick uint64) (s secret, known bool) {
	e, known := t.byName[user]
	switch {
	case known:
		return e.secret, true
	case len(t.entries) == 0:
		return plainSecret(""), false
	}
	return t.entries[pick%uint64(len(t.entries))].secret, false
}

// load is parse for a server. It refuses plain text unless plaintext allows it.
func load(path, data string, plaintext bool) (*table, error) {
	t, err := parse(path, split(data))
	if err != nil || plaintext {
		return t, err
	}
	if i := slices.IndexFunc(t.entries, func(e entry) bool { return e.plain() }); i >= 0 {
		e := t.entries[i]
		err := fmt.Errorf("the password of %q is plain text", e.name)
		return nil, &Error{Path: path, Line: e.num, Err: err, Fix: hashHint(path)}
	}
	return t, nil
}
