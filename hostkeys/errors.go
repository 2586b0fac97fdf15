package hostkeys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/watchfile"
)

// Error is a problem with a host key or with the directory of host keys. It has the fields and the Hint of a
// [watchfile.Error], and never holds any bytes of a key.
type Error struct{ *fileError }

type fileError = watchfile.Error

// Error returns "host key PATH: REASON".
func (e *Error) Error() string { return "host key " + e.fileError.Error() }

// The reasons are foyer's own, because those of the parser may quote from a damaged file.
var (
	errDangling   = errors.New("is a dangling symbolic link")
	errNotDir     = errors.New("is not a directory")
	errEmpty      = errors.New("is empty")
	errPublic     = errors.New("is a public key, and a server needs the private key")
	errPuTTY      = errors.New("is a key in PuTTY's format")
	errDSA        = errors.New("is a DSA key, which clients no longer accept")
	errDamaged    = errors.New("is damaged, or not an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 private key")
	errPassphrase = fmt.Errorf("has a passphrase, which a server cannot ask for: %w", &gossh.PassphraseMissingError{})
)

// keyError returns err as the [*Error] of a host key's file.
func keyError(path string, err error) error {
	e := newError(path, err)
	switch {
	case errors.Is(err, errPassphrase):
		e.Fix = "run: ssh-keygen -p -f " + watchfile.Quote(path)
	case errors.Is(err, fs.ErrPermission) && ofOthers(path):
		e.Fix = copyKey(path)
	case errors.Is(err, errPuTTY):
		e.Fix = "run: puttygen " + watchfile.Quote(path) + " -O private-openssh -o " + watchfile.Quote(path)
	case e.Fix == "":
		e.Fix = "restore it from a backup or, for a new identity, run: mv " + watchfile.Quote(path) + " ~/"
	}
	if _, state := split(path); state != InUse {
		e.Fix = strings.Replace(e.Fix, " or, for a new identity, run", ", or run", 1)
	}
	return e
}

// dirError returns err as the [*Error] of a directory of host keys.
func dirError(dir string, err error) error {
	e := newError(dir, err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Fix = ownDir(dir)
	case errors.Is(err, errNotDir):
		e.Fix = "use: --hostkeys " + watchfile.Quote(filepath.Dir(dir))
	case errors.Is(err, errDangling):
		e.Fix = "run: rm " + watchfile.Quote(dir)
	}
	return e
}

// createError returns err as the [*Error] of a host key that could not be created.
func createError(path string, err error) error {
	e := newError(path, err)
	if errors.Is(err, fs.ErrPermission) {
		e.Fix = ownDir(filepath.Dir(path))
	}
	return e
}

func newError(path string, err error) *Error {
	e, _ := errors.AsType[*watchfile.Error](watchfile.Failure(path, err))
	return &Error{e}
}

// sameType returns the [*Error] of a key that has the same type as the one in the file other.
func sameType(key Key, other string) error {
	e := newError(key.Path, fmt.Errorf("has the type %s, like %s, and a server has one key of a type", key.Type(), other))
	e.Fix = "keep the one that clients know; to drop this one, run: mv " + watchfile.Quote(key.Path) + " ~/"
	return e
}

// ownDir is the hint that gives dir to the user of the server, and creates it if it is missing. The directory of somebody
// else may be that of sshd: the hint creates another one instead.
func ownDir(dir string) string {
	use := ""
	if ofOthers(dir) {
		dir, use = systemDir, ", and use: --hostkeys "+systemDir
	}
	return fmt.Sprintf("run: sudo install -d -m 700 -o %d %s%s", os.Geteuid(), watchfile.Quote(dir), use)
}

// copyKey is the hint for the host key of somebody else. It may be the one of sshd, which would not use it any more if it
// did not belong to root.
func copyKey(path string) string {
	return fmt.Sprintf("use a copy; run: sudo install -D -m 600 -o %d %s %s, and use: --hostkeys %s",
		os.Geteuid(), watchfile.Quote(path), watchfile.Quote(filepath.Join(systemDir, filepath.Base(path))), systemDir)
}

// systemDir is a directory that belongs to no other program.
const systemDir = "/var/lib/foyer/hostkeys"

// ofOthers reports whether the file or directory at path exists and belongs to another user, or cannot be seen.
func ofOthers(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return !watchfile.Own(info)
}
