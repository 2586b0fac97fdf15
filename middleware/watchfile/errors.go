package watchfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// Error is a problem with a file or a directory, with a hint. Of the content of a file it quotes only the names of users
// and options, because the rest may be secret.
type Error struct {
	Path string
	Line int // 0 if the problem is not in one line
	Err  error
	Fix  string // ends in something to type; may be empty
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err)
}

// Unwrap returns the cause, for [errors.Is] with fs.ErrNotExist and its like.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns Fix or, without one, the Hint of the cause. Package cli shows the Hint of an error to the operator.
func (e *Error) Hint() string {
	var cause interface{ Hint() string }
	if e.Fix == "" && errors.As(e.Err, &cause) {
		return cause.Hint()
	}
	return e.Fix
}

// Failure returns err as an [*Error] of path, without the path and the operation that package os adds. Nil stays nil, and
// an *Error stays as it is.
func Failure(path string, err error) error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		err = cause.Err
	} else if cause, ok := errors.AsType[*os.LinkError](err); ok {
		err = cause.Err
	}
	var fix string
	if errors.Is(err, fs.ErrPermission) {
		fix = fmt.Sprintf("run: sudo chown %d %s", os.Geteuid(), Quote(path))
	}
	return &Error{Path: path, Err: err, Fix: fix}
}

// plain matches paths without special characters for the shell that no command takes for an option.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./-]*$`)

// Quote quotes path for the shell if necessary.
func Quote(path string) string {
	if plain.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
