package watchfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
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
		fix = allow(path, err)
		if ofSystem(path) {
			fix = "to see who may use it, run: ls -ld " + Quote(path)
		}
	}
	return &Error{Path: path, Err: err, Fix: fix}
}

// ofSystem reports whether path is in /etc or /usr, where most files belong to other programs. No hint gives them to foyer.
func ofSystem(path string) bool {
	abs, err := filepath.Abs(path)
	return err != nil || strings.HasPrefix(abs+"/", "/usr/") || strings.HasPrefix(abs+"/", "/etc/") && !strings.HasPrefix(abs, "/etc/foyer/")
}

// allow returns the hint that lets the running user do what was not permitted with the file at path. If the file can be
// read, or cannot be seen because it is missing or hidden, its directory is in the way. EPERM is about the owner and the group
// of a file, which an edit keeps.
func allow(path string, denied error) string {
	const readable = 4 // R_OK
	noAccess := errors.Is(denied, syscall.EACCES)
	info, err := os.Lstat(path)
	if err == nil && noAccess && !info.IsDir() && access(path, readable) == nil {
		err = denied
	}
	for err != nil && path != filepath.Dir(path) {
		path = filepath.Dir(path)
		if info, err = os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprintf("run: sudo install -d -m 700 -o %d -g %d %s", os.Geteuid(), os.Getegid(), Quote(path))
		}
	}
	abs, failed := filepath.Abs(path)
	switch {
	case err == nil && noAccess && owner(info) == os.Geteuid():
		return "run: chmod u+rwX " + Quote(path)
	case failed != nil || filepath.Dir(abs) == "/": // such as /etc, which has to stay root's
		return ""
	}
	return fmt.Sprintf("run: sudo chown %d:%d %s", os.Geteuid(), os.Getegid(), Quote(path))
}

// Owner returns the name of the user that the file at path belongs to, or the nearest directory above it that can be seen. It is
// empty for root and for the running user.
func Owner(path string) string {
	info, err := os.Stat(path)
	for err != nil && path != filepath.Dir(path) {
		path = filepath.Dir(path)
		info, err = os.Stat(path)
	}
	if err != nil || owner(info) == 0 || owner(info) == os.Geteuid() {
		return ""
	}
	known, err := user.LookupId(strconv.Itoa(owner(info)))
	if err != nil {
		return ""
	}
	return known.Username
}

// Appendable returns an error if the running user cannot append to the file at path, or cannot make it. It changes nothing.
func Appendable(path string) error {
	const writable = 2 // W_OK
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Failure(path, access(filepath.Dir(path), writable))
	case err == nil && info.IsDir():
		err = syscall.EISDIR
	case err == nil:
		err = access(path, writable)
	}
	return Failure(path, err)
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
