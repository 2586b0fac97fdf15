package authorizedkeys

import (
	"errors"
	"fmt"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/watchfile"
)

const (
	// maxKeys is how many of a file's keys are used.
	maxKeys = 10_000
	// maxProblems is how many lines of a file are complained of: a file of something else is a problem on each.
	maxProblems = 20
)

// line is a line that can be used.
type line struct {
	number  int
	kind    string // the type of the key
	blob    []byte // the key
	comment string
	options string
	rules   rules
}

// parse returns the lines of a file that can be used, and what is wrong with the others.
func parse(path, data string) (lines []line, problems []error) {
	skipped := 0
	for number, text := range keyfile.Lines(data) {
		l, err := parseLine(text)
		if err == nil && len(lines) == maxKeys {
			err = errTooMany
		}
		switch {
		case err == nil:
			l.number = number
			lines = append(lines, l)
		case len(problems) < maxProblems:
			problems = append(problems, explain(path, number, err))
		default:
			skipped++
		}
	}
	if skipped > 0 {
		problems = append(problems, &watchfile.Error{Path: path, Err: fmt.Errorf("%d more lines cannot be used", skipped)})
	}
	return lines, problems
}

// errTooMany is why a key is not used, and not added either.
var errTooMany = fmt.Errorf("a user has at most %d keys, and this is one more", maxKeys)

// explain is the error of a line, with what can be done about it.
func explain(path string, number int, err error) error {
	var fix string
	switch {
	case errors.Is(err, errAuthority):
		fix = "put the key alone on a line of a file, and use: --user-ca FILE"
	case errors.Is(err, errPrivate):
		fix = "take it out and make a new one; the public key is in the file that ends in .pub"
	}
	return &watchfile.Error{Path: path, Line: number, Err: err, Fix: fix}
}

var errPrivate = errors.New("a private key, where public keys belong")

// parseLine parses a line that is neither blank nor a comment. As in sshd (auth2-pubkeyfile.c), it begins with a key,
// or with options.
func parseLine(text string) (line, error) {
	switch {
	case len(text) > keyfile.MaxLine:
		return line{}, fmt.Errorf("a line of %d bytes, at most %d are read", len(text), keyfile.MaxLine)
	case strings.HasPrefix(text, "-----BEGIN ") || strings.HasPrefix(text, "PuTTY-User-Key-File"):
		return line{}, errPrivate
	}
	var options string
	if kind, _, _ := strings.Cut(text, " "); !keyfile.IsKeyType(kind) {
		options, text = cutOptions(text)
	}
	key, comment, err := keyfile.ParseKey(text)
	if err != nil {
		return line{}, err
	}
	rules, err := parseOptions(options)
	return line{kind: key.Type(), blob: key.Marshal(), comment: comment, options: options, rules: rules}, err
}

// Of a key that was strong enough only its bytes are kept, which are a tenth of it. They are enough of a PublicKey to
// have a fingerprint.
var _ gossh.PublicKey = line{}

// Type implements [gossh.PublicKey].
func (l line) Type() string { return l.kind }

// Marshal implements [gossh.PublicKey].
func (l line) Marshal() []byte { return l.blob }

// Verify implements [gossh.PublicKey]: it verifies nothing.
func (line) Verify([]byte, *gossh.Signature) error { return errors.ErrUnsupported }
