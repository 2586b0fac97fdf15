package authorizedkeys

import (
	"errors"
	"fmt"
	"strings"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/watchfile"
)

const (
	// maxKeys is the maximum number of keys in a file.
	maxKeys = 10_000
	// maxProblems is the maximum number of reported lines, for a file in another format, where every line is invalid.
	maxProblems = 20
)

// line is a valid line.
type line struct {
	number  int
	blob    []byte // the key, a tenth of the size of a parsed one
	comment string
	options string
	rules   rules
}

// parse returns the valid lines of a file, and the problems of the others.
func parse(path, data string) (lines []line, problems []error) {
	texts, err := keyfile.Lines(data)
	if err != nil {
		return nil, []error{&watchfile.Error{Path: path, Err: err}}
	}
	skipped := 0
	for number, text := range texts {
		l, err := parseLine(text)
		if err == nil && len(lines) == maxKeys {
			err = errTooMany
		}
		switch {
		case err == nil:
			l.number = number
			lines = append(lines, l)
		case len(problems) < maxProblems:
			problems = append(problems, &watchfile.Error{Path: path, Line: number, Err: err})
		default:
			skipped++
		}
	}
	if skipped > 0 {
		problems = append(problems, &watchfile.Error{Path: path, Err: fmt.Errorf("%d more lines are invalid", skipped)})
	}
	return lines, problems
}

var errTooMany = fmt.Errorf("more than %d keys", maxKeys)

var errPrivate = &keyfile.Error{
	Err: errors.New("a private key in a file for public keys"),
	Fix: "remove it and create a new key pair; the public key is in the file that ends in .pub",
}

// parseLine parses a line that is neither blank nor a comment. As in sshd (auth2-pubkeyfile.c), it starts with a key or with
// options.
func parseLine(text string) (line, error) {
	switch {
	case len(text) > keyfile.MaxLine:
		return line{}, fmt.Errorf("the line has %d bytes, the limit is %d", len(text), keyfile.MaxLine)
	case strings.HasPrefix(text, "-----BEGIN ") && strings.Contains(text, "PRIVATE KEY") || strings.HasPrefix(text, "PuTTY-User-Key-File"):
		return line{}, errPrivate
	}
	var options string
	if kind, _, _ := strings.Cut(text, " "); !keyfile.IsKeyType(kind) && !strings.HasPrefix(kind, "----") { // which begins another format
		options, text = cutOptions(text)
	}
	key, comment, err := keyfile.ParseKey(text)
	if err != nil {
		return line{}, err
	}
	rules, err := parseOptions(options)
	return line{blob: key.Marshal(), comment: comment, options: options, rules: rules}, err
}
