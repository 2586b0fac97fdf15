package passwords

import (
	"errors"
	"fmt"
	"strings"

	"foyer/middleware/auth/username"
	"foyer/middleware/watchfile"
)

// errTwice is the error of a second line of a user.
var errTwice = errors.New("is already")

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
func split(path, data string) (lines []line, err error) {
	if convert, err := checkText(data); err != nil {
		return nil, &Error{Path: path, Err: err, Fix: "run: " + convert + " < " + watchfile.Quote(path) + " > new-passwords"}
	}
	for raw := range strings.Lines(strings.TrimPrefix(data, "\ufeff")) {
		text := strings.TrimSuffix(strings.TrimSuffix(raw, "\n"), "\r")
		lines = append(lines, line{len(lines) + 1, text, raw[len(text):]})
	}
	return lines, nil
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

// entry parses the line of a user. With an error it has the name of the user, if that is valid.
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
		err = fmt.Errorf("user %q: %w", name, err)
	}
	return entry{name, l.num, s}, err
}

// parse returns the table of the valid lines, and the problems of the others. Plain text is one, unless plaintext allows it.
// It computes no hash, and computing those that it accepts is safe.
func parse(path string, lines []line, plaintext bool) (*table, []error) {
	t := &table{byName: map[string]entry{}}
	var problems, plain []error
	for _, l := range lines {
		if l.comment() {
			continue
		}
		e, err := l.entry()
		if first, taken := t.byName[e.name]; err == nil && taken {
			err = fmt.Errorf("user %q %w on line %d", e.name, errTwice, first.num)
		}
		switch {
		case err != nil:
			problems = append(problems, &Error{Path: path, Line: l.num, Err: err, Fix: l.hint(path, e.name, err)})
			continue
		case e.plain() && !plaintext:
			err = fmt.Errorf("the password of %q is plain text", e.name)
			plain = append(plain, &Error{Path: path, Line: l.num, Err: err, Fix: hint(path, "hash")})
		}
		t.entries = append(t.entries, e)
		t.byName[e.name] = e
	}
	return t, append(problems, plain...)
}

// hint returns the hint for a line of user, whose secret is refused with err.
func (l line) hint(path, user string, err error) string {
	add := hint(path, "add "+watchfile.Quote(user))
	switch _, known := accounts[strings.Count(l.text, ":")+1]; {
	case known && path == DefaultPath:
		return "run: mv " + path + " old-passwords && foyer user import old-passwords"
	case known:
		return "run: foyer user import " + watchfile.Quote(path)
	case user == "" || errors.Is(err, errTwice):
		return ""
	case errors.Is(err, ErrLocked):
		return hint(path, "remove "+watchfile.Quote(user))
	case l.foreign():
		return "remove the line, and " + add
	}
	return add
}

func (t *table) users() (users []User) {
	for _, e := range t.entries {
		users = append(users, User{e.name, e.scheme})
	}
	return users
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

// load is parse for a server, which uses a file without problems.
func load(path, data string, plaintext bool) (*table, error) {
	lines, err := split(path, data)
	if err != nil {
		return nil, err
	}
	t, problems := parse(path, lines, plaintext)
	if len(problems) > 0 {
		return nil, problems[0]
	}
	return t, nil
}
