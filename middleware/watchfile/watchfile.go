// Package files reads files that an operator edits while the server runs: it tells one version from the next at the cost
// of a stat, takes nothing for such a file that is none, and says what is wrong in a way that helps.
package watchfile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// racy is how long after its last change a file may change once more without a new time stamp to show for it: git's
// "racily clean" problem. File systems count in steps of up to 2 s (FAT).
const racy = 2 * time.Second

// Tree is where a file is looked for: an [*os.Root], or [Disk].
type Tree interface {
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	Stat(name string) (fs.FileInfo, error)
}

// Disk is the whole file system.
type Disk struct{}

// OpenFile is [os.OpenFile].
func (Disk) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}

// Stat is [os.Stat].
func (Disk) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// Version identifies what was found under a name. The zero Version is that of a file that was never looked at.
type Version struct {
	info fs.FileInfo // nil when nothing could be read
	at   time.Time
	sum  [sha256.Size]byte
	err  string
}

// Stands reports whether v is certainly what name still holds. It costs one stat.
func (v Version) Stands(tree Tree, name string) bool {
	if v.info == nil || v.at.Sub(v.info.ModTime()) < racy {
		return false
	}
	info, err := tree.Stat(name)
	return err == nil && os.SameFile(info, v.info) && info.ModTime().Equal(v.info.ModTime()) &&
		info.Size() == v.info.Size() && info.Mode() == v.info.Mode()
}

// Mode returns the permissions that the file had, and 0 where there was none.
func (v Version) Mode() fs.FileMode {
	if v.info == nil {
		return 0
	}
	return v.info.Mode().Perm()
}

// Same reports whether both versions have the same content, or cannot be read for the same reason.
func (v Version) Same(other Version) bool { return v.sum == other.sum && v.err == other.err }

// Look reads what name in tree holds now, if it is a regular file that only its owner can write, of at most limit
// bytes. Its error is an [*Error] of path, which is what the operator calls it, and is returned at once: neither a
// named pipe nor a device is waited for.
func Look(tree Tree, name, path string, limit int64) (data string, v Version, err error) {
	v.at = time.Now() // first: a change during the reading must count as racy
	data, info, err := readFile(tree, name, path, limit)
	if err != nil {
		err = Failure(path, err)
		v.err = err.Error()
		return "", v, err
	}
	v.info, v.sum = info, sha256.Sum256([]byte(data))
	return data, v, nil
}

func readFile(tree Tree, name, path string, limit int64) (string, fs.FileInfo, error) {
	// Without O_NONBLOCK, opening a named pipe waits for a writer.
	f, err := tree.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) {
		return "", nil, errors.New("is a socket or a device")
	}
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = f.Close() }()
	return Read(f, path, limit)
}

// Read returns the content of f, which was opened at path, if it is what [Look] would take.
func Read(f fs.File, path string, limit int64) (string, fs.FileInfo, error) {
	info, err := f.Stat()
	if err == nil {
		err = fit(path, info, limit)
	}
	if err != nil {
		return "", nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = tooLarge(limit)
	}
	return string(data), info, err
}

func tooLarge(limit int64) error { return fmt.Errorf("is larger than %d MiB", limit>>20) }

// fit returns an error when what info describes is not what such a file has to be.
func fit(path string, info fs.FileInfo, limit int64) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return errors.New("is a directory")
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("is a named pipe")
	case !mode.IsRegular():
		return errors.New("is not a regular file")
	case info.Size() > limit:
		return tooLarge(limit)
	}
	return StrictMode(path, info)
}
