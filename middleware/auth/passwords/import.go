package passwords

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"foyer/middleware/auth/username"
)

// Imported is the outcome of [Import] for one line.
type Imported struct {
	User string // or "line N" if the line has no valid user
	Err  error  // why the user was not taken over, or nil
}

// ErrExists is the error of [Import] for a user whose secret in the file is another one.
var ErrExists = errors.New("the user exists")

// Import takes over the users of the file from of another program, whose content is data: htpasswd, /etc/shadow, /etc/passwd or
// master.passwd. It edits the file at path as [Add] does, once for all users. It takes the hashes that foyer can verify, as
// they are. All other secrets are the error of their line, also plain text, which may be an unknown kind of hash, and those
// of accounts with an expiry date. A user of the file is replaced only with force.
func Import(path, from, data string, force, plaintext bool) (outcome []Imported, err error) {
	source, err := split(from, data)
	if err != nil {
		return nil, err
	}
	err = edit(path, plaintext, func(lines []line) ([]line, error) {
		lines, outcome = merge(lines, source, force)
		return lines, nil
	})
	if errors.Is(err, fs.ErrNotExist) && outcome != nil {
		err = nil // the file is missing, and there is nothing to write
	}
	return outcome, err
}

// merge puts the users of source into lines.
func merge(lines, source []line, force bool) ([]line, []Imported) {
	outcome, number, from := []Imported{}, map[string]int{}, map[string]int{}
	for i, l := range lines {
		name, _, _ := strings.Cut(l.text, ":")
		number[name] = i
	}
	for _, l := range source {
		if l.comment() {
			continue
		}
		user, secret, err := l.account()
		i, exists := number[user]
		switch text := user + ":" + secret; {
		case err != nil:
		case from[user] > 0:
			err = fmt.Errorf("%w on line %d", errTwice, from[user])
		case !exists:
			number[user], lines = len(lines), appendLine(lines, text)
		case lines[i].text != text && !force:
			err = ErrExists
		default:
			lines[i].text = text
		}
		if err == nil {
			from[user] = l.num
		}
		outcome = append(outcome, Imported{user, err})
	}
	return lines, outcome
}

// account returns the user and the hash of a line of another program.
func (l line) account() (user, hash string, err error) {
	user, hash, found := strings.Cut(l.text, ":")
	if !found {
		err = errors.New("no colon")
	} else {
		err = username.Check(user)
	}
	if err != nil {
		return fmt.Sprint("line ", l.num), "", err
	}
	field := strings.Split(l.text, ":")
	if account, known := accounts[len(field)]; known {
		hash = field[1]
		if account.expiry > 0 && field[account.expiry] != account.never {
			err = errors.New("the account has an expiry date, which foyer does not support")
		}
	}
	switch s, invalid := parseSecret(hash); {
	case invalid != nil:
		err = invalid
	case s.plain():
		err = errors.New("plain text, or an unknown kind of hash")
	}
	return user, hash, err
}
