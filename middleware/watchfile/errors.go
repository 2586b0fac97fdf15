package watchfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// Error says what is wrong with a file or a directory, where, and what to do about it. It holds nothing of a file's
// content but the names of users and options: what lies there may be a secret.
type Error struct {
	Path string
	Line int // 0 when the whole file is meant
	Err  error
	Fix  string // ends in something to type; empty when nothing general is known to help
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err)
}

// Unwrap returns the cause, for [errors.Is] with fs.ErrNotExist and its like.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns Fix, under the name by which a command line asks any error for its remedy.
func (e *Error) Hint() string { return e.Fix }

// Failure is err as the [*Error] of path, whatever name the system call was given; nil stays nil.
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

// StrictMode returns an error when others than its owner can write what info describes, as sshd's StrictModes has it.
// The sticky bit is no excuse: it keeps others from replacing a file, not from adding one.
func StrictMode(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o022 == 0 {
		return nil
	}
	fix := "run: chmod 600 "
	if info.IsDir() {
		fix = "run: chmod go-w "
	}
	return &Error{
		Path: path,
		Err:  fmt.Errorf("others can write it (mode %04o)", info.Mode().Perm()),
		Fix:  fix + Quote(path),
	}
}

// plain matches what no shell gives a meaning to, and no command takes for an option.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./-]*$`)

// Quote returns path so that a shell takes it for one word: a Fix is typed as it stands.
func Quote(path string) string {
	if plain.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
