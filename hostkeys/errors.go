package hostkeys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/watchfile"
)

// Error tells an operator which host key, or directory of host keys, stands in the way, why, and what to do. It never
// holds any of a key's bytes.
type Error struct {
	Path string // the file or directory
	Err  error  // the reason; it does not repeat the path
	Fix  string // something to type, or empty where the reason says it all
}

// Error reads "host key PATH: REASON".
func (e *Error) Error() string { return "host key " + e.Path + ": " + e.Err.Error() }

// Hint is the Fix, such as "run: chmod 600 hostkeys/id_rsa"; empty when there is none.
func (e *Error) Hint() string { return e.Fix }

// Unwrap gives the reason to [errors.Is] and [errors.As]: fs.ErrExist, fs.ErrPermission, *ssh.PassphraseMissingError.
func (e *Error) Unwrap() error { return e.Err }

// The reasons for which a file or a directory is refused. They are foyer's own words rather than the parser's, which
// may quote from a damaged file.
var (
	errDangling   = errors.New("a symbolic link that points nowhere")
	errNotDir     = errors.New("not a directory")
	errOpenDir    = errors.New("others can write to this directory")
	errNotRegular = errors.New("not a regular file")
	errOpenFile   = errors.New("others can read or write this file")
	errTooLarge   = fmt.Errorf("larger than %d KiB, so not a host key", maxSize>>10)
	errEmpty      = errors.New("the file is empty")
	errPublic     = errors.New("a public key, where the private key belongs")
	errDSA        = errors.New("a DSA key, which clients no longer accept")
	errDamaged    = errors.New("not an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 private key, or damaged")
	errPassphrase = fmt.Errorf("a server cannot ask for a passphrase: %w", &gossh.PassphraseMissingError{})
)

// keyError is the Error of a host key's file.
func keyError(path string, err error) error {
	fix := "restore it from a backup or, for a new identity, run: mv " + watchfile.Quote(path) + " ~/"
	switch {
	case errors.Is(err, fs.ErrPermission):
		fix = fmt.Sprintf("run: sudo chown %d %s", os.Geteuid(), watchfile.Quote(path))
	case errors.Is(err, errOpenFile):
		fix = "run: chmod 600 " + watchfile.Quote(path)
	case errors.Is(err, errPassphrase):
		fix = "run: ssh-keygen -p -f " + watchfile.Quote(path)
	}
	return &Error{Path: path, Err: reason(err), Fix: fix}
}

// dirError is the Error of a directory of host keys.
func dirError(dir string, err error) error {
	var fix string
	switch {
	case errors.Is(err, fs.ErrPermission):
		fix = ownDir(dir)
	case errors.Is(err, errOpenDir):
		fix = "run: chmod go-w " + watchfile.Quote(dir)
	case errors.Is(err, errNotDir):
		fix = "use: --hostkeys " + watchfile.Quote(filepath.Dir(dir))
	case errors.Is(err, errDangling):
		fix = "run: rm " + watchfile.Quote(dir)
	}
	return &Error{Path: dir, Err: reason(err), Fix: fix}
}

// createError is the Error of a host key that could not be made.
func createError(path string, err error) error {
	var fix string
	if errors.Is(err, fs.ErrPermission) {
		fix = ownDir(filepath.Dir(path))
	}
	return &Error{Path: path, Err: reason(err), Fix: fix}
}

// sameType is the Error of a key whose type the key in the file other has already.
func sameType(key Key, other string) error {
	return &Error{
		Path: key.Path,
		Err:  fmt.Errorf("of type %s like %s, and a server has one key of a type", key.Type(), other),
		Fix:  "keep the one that clients know; to drop this one, run: mv " + watchfile.Quote(key.Path) + " ~/",
	}
}

// ownDir gives dir to the server's user, and makes it first when it is missing.
func ownDir(dir string) string {
	return fmt.Sprintf("run: sudo install -d -m 700 -o %d %s", os.Geteuid(), watchfile.Quote(dir))
}

// reason strips the path and the system call that the os package adds: Error names the path, and the file that a
// system call failed on may be a pending one that nobody knows.
func reason(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	if linkErr, ok := errors.AsType[*os.LinkError](err); ok {
		return linkErr.Err
	}
	return err
}
