// Package keyfile is what the files that say who may come in with a key have in common, be it a user's authorized keys,
// the authorities that sign certificates, or the list of what they revoked: how such a file is read and watched, what a
// line of it is, which keys are strong enough, and in which words a permission is written down.
package keyfile

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

// MaxFile bounds what is read: 1 MiB are some 10,000 keys. A larger file is something else put in its place.
const MaxFile = 1 << 20

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

// Same reports whether both versions have the same content, or cannot be read for the same reason.
func (v Version) Same(other Version) bool { return v.sum == other.sum && v.err == other.err }

// Look reads what name in tree holds now, if it is a regular file that only its owner can write, of at most [MaxFile]
// bytes. Its error is an [*Error] of path, which is what the operator calls it, and is returned at once: neither a
// named pipe nor a device is waited for.
func Look(tree Tree, name, path string) (data string, v Version, err error) {
	v.at = time.Now() // first: a change during the reading must count as racy
	data, info, err := readFile(tree, name, path)
	if err != nil {
		err = Failure(path, err)
		v.err = err.Error()
		return "", v, err
	}
	v.info, v.sum = info, sha256.Sum256([]byte(data))
	return data, v, nil
}

func readFile(tree Tree, name, path string) (string, fs.FileInfo, error) {
	// Without O_NONBLOCK, opening a named pipe waits for a writer.
	f, err := tree.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) {
		return "", nil, errors.New("is a socket or a device")
	}
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err == nil {
		err = fit(path, info)
	}
	if err != nil {
		return "", nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		err = errTooLarge
	}
	return string(data), info, err
}

var errTooLarge = fmt.Errorf("is larger than %d MiB", MaxFile>>20)

// fit returns an error when what info describes is not what a file of keys has to be.
func fit(path string, info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return errors.New("is a directory")
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("is a named pipe")
	case !mode.IsRegular():
		return errors.New("is not a regular file")
	case info.Size() > MaxFile:
		return errTooLarge
	}
	return StrictMode(path, info)
}
