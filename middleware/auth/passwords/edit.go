package passwords

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/sethvargo/go-diceware/diceware"

	"foyer/middleware/auth/username"
	"foyer/middleware/watchfile"
)

// Generate returns a password that is easy to read out and type: five different words of the EFF's list of 7,776, joined
// with "-". It has 64.6 bits of entropy: too many to guess over a network or, hashed with argon2id, from a stolen file.
func Generate() (string, error) {
	words, err := diceware.Generate(5)
	if err != nil {
		return "", err
	}
	return strings.Join(words, "-"), nil
}

// Create creates the file at path with one user. If path exists, even as a dangling symbolic link, the error is
// fs.ErrExist.
func Create(path, user, password string) error {
	text, err := newLine(user, password)
	if err != nil {
		return err
	}
	return watchfile.Failure(path, watchfile.Create(path, text+"\n"))
}

// CreateEmpty creates the file at path without users, as [Create] does.
func CreateEmpty(path string) error { return watchfile.Failure(path, watchfile.Create(path, "")) }

// Add sets the password of user, hashed with argon2id. The line of a new user is added at the end of the file; a missing
// file is created with mode 0600. The file is replaced atomically and keeps its owner, group and mode; concurrent edits wait
// for each other. If path is a symbolic link, its target is edited.
//
// Nothing is written that a server with the same setting of [Options].Plaintext would not use.
func Add(path, user, password string, plaintext bool) error {
	text, err := newLine(user, password)
	if err != nil {
		return err
	}
	return add(path, user, text, plaintext)
}

func add(path, user, text string, plaintext bool) error {
	return edit(path, plaintext, func(lines []line) ([]line, error) { return put(lines, user, text), nil })
}

// ErrNoUser is wrapped by the error of [Remove] if the user is not in the file.
var ErrNoUser = errors.New("no user")

// Remove removes the user from the file, in the same way as [Add].
func Remove(path, user string, plaintext bool) error {
	return edit(path, plaintext, func(lines []line) ([]line, error) {
		rest := slices.DeleteFunc(slices.Clone(lines), func(l line) bool { return l.isOf(user) })
		if len(rest) == len(lines) {
			return nil, fmt.Errorf("%w %q", ErrNoUser, user)
		}
		return rest, nil
	})
}

// Hash replaces every plain-text secret with its argon2id hash, in the same way as [Add], and returns how many there
// were. It keeps everything else: comments, order, blank lines and line endings.
func Hash(path string) (n int, err error) {
	err = edit(path, false, func(lines []line) ([]line, error) {
		if _, problems := parse(path, lines, true); len(problems) > 0 {
			return nil, problems[0]
		}
		for i, l := range lines {
			if e, err := l.entry(); l.comment() || err != nil || !e.plain() {
				continue
			}
			name, password, _ := strings.Cut(l.text, ":")
			if lines[i].text, err = newLine(name, password); err != nil {
				return nil, err
			}
			n++
		}
		return lines, nil
	})
	return n, err
}

// newLine returns the line of a user, without a line ending.
func newLine(user, password string) (string, error) {
	if err := username.Check(user); err != nil {
		return "", err
	}
	switch {
	case password == "":
		return "", errors.New("empty password")
	case len(password) > maxPassword:
		return "", fmt.Errorf("password has %d bytes, at most %d are allowed", len(password), maxPassword)
	}
	hash, err := newHash(password)
	return user + ":" + hash, err
}

// put replaces the line of user or adds one. It uses the line endings of the file.
func put(lines []line, user, text string) []line {
	if i := slices.IndexFunc(lines, func(l line) bool { return l.isOf(user) }); i >= 0 {
		lines[i].text = text
		return lines
	}
	return appendLine(lines, text)
}

func appendLine(lines []line, text string) []line {
	end := "\n"
	if len(lines) > 0 && lines[0].end == "\r\n" {
		end = "\r\n"
	}
	if last := len(lines) - 1; last >= 0 && !strings.HasSuffix(lines[last].end, "\n") {
		lines[last].end = end
	}
	return append(lines, line{len(lines) + 1, text, end})
}

// edit replaces the lines of the file with those that change returns, under a lock, and returns an [*Error]. It returns one
// if the file has a line of another program, or if a server could not use the result, for example because of another
// invalid line. If the file is missing and change returns lines, it is created.
func edit(path string, plaintext bool, change func([]line) ([]line, error)) error {
	e, name, err := watchfile.EditFile(path)
	if err != nil {
		return err
	}
	defer e.Close()
	return watchfile.Failure(path, replace(e, name, path, plaintext, change))
}

func replace(e *watchfile.Edit, name, path string, plaintext bool, change func([]line) ([]line, error)) error {
	data, old, missing := e.Read(name, path, MaxFile)
	if missing != nil && !errors.Is(missing, fs.ErrNotExist) {
		return missing
	}
	lines, err := split(path, data)
	if err != nil {
		return err
	}
	next, err := change(slices.Clone(lines))
	switch {
	case missing != nil && len(next) == 0:
		return missing
	case err != nil:
		return err
	}
	text, err := encode(path, lines, next, plaintext)
	switch {
	case err != nil || text == data:
		return err
	case missing != nil:
		return e.Create(name, text)
	}
	return e.Replace(name, text, old)
}

// encode returns the content of a file with the lines next in place of lines.
func encode(path string, lines, next []line, plaintext bool) (string, error) {
	isForeign := func(l line) bool { return l.foreign() }
	if i := slices.IndexFunc(lines, isForeign); i >= 0 {
		_, problems := parse(path, lines[i:i+1], plaintext)
		return "", problems[0]
	}
	if _, problems := parse(path, next, plaintext); len(problems) > 0 {
		return "", problems[0]
	}
	text := join(next)
	if len(text) > MaxFile {
		return "", fmt.Errorf("would be larger than %d MiB, the limit", MaxFile>>20)
	}
	return text, nil
}
