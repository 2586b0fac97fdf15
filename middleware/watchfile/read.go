// Package watchfile reads files that an operator edits while the server runs, and replaces them atomically. It recognizes
// a new version at the cost of one stat, accepts only regular files that nobody but root and the running user can change,
// and never blocks on a named pipe or a device.
//
// On Windows it trusts no file, because it does not read the access control list that says who can change one. Only texts for
// visitors can be read there.
package watchfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Permissions of group and others that make a file unusable.
const (
	OthersWrite fs.FileMode = 0o022 // as with sshd's StrictModes
	OthersUse   fs.FileMode = 0o077 // for private keys
)

// ReadFile returns the content of the regular file at path. It returns an [*Error] if the file has more than limit bytes
// or, unless forbidden is 0, if [Trust] does.
func ReadFile(path string, limit int64, forbidden fs.FileMode) (string, error) {
	data, _, err := readFile(nil, path, path, limit, forbidden)
	return data, Failure(path, err)
}

// readFile reads one version of the file name in root, or in the whole file system if root is nil. Errors name the file
// path.
func readFile(root *os.Root, name, path string, limit int64, forbidden fs.FileMode) (data string, info fs.FileInfo, err error) {
	for range 10 { // a replacement changes the status of the file that it replaces
		data, info, err = readOnce(root, name, path, limit, forbidden)
		if !errors.Is(err, errChanged) {
			break
		}
	}
	return data, info, err
}

var errChanged = errors.New("was changed while it was read")

func readOnce(root *os.Root, name, path string, limit int64, forbidden fs.FileMode) (string, fs.FileInfo, error) {
	open := os.OpenFile
	if root != nil {
		open = root.OpenFile
	}
	// Without O_NONBLOCK, opening a named pipe waits for a writer.
	f, err := open(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) {
		return "", nil, errors.New("is a socket or a device")
	}
	if errors.Is(err, fs.ErrNotExist) && root == nil && forbidden != 0 {
		return "", nil, Trust(path, nil, forbidden)
	}
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = f.Close() }()
	return read(f, limit, func(info fs.FileInfo) error {
		if forbidden == 0 {
			return nil
		}
		return Trust(path, info, forbidden)
	})
}

// read returns the content of a regular file that access returns no error for. It checks f itself, because its path may
// lead to another file by now. A file that changes meanwhile is an error.
func read(f fs.File, limit int64, access func(fs.FileInfo) error) (string, fs.FileInfo, error) {
	info, err := f.Stat()
	if err == nil {
		err = regular(info)
	}
	if err == nil && info.Size() > limit {
		err = tooLarge(limit)
	}
	if err == nil {
		err = access(info)
	}
	if err != nil {
		return "", nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = tooLarge(limit)
	}
	if after, failed := f.Stat(); err == nil && (failed != nil || !unchanged(info, after)) {
		return "", nil, errChanged
	}
	return string(data), info, err
}

func tooLarge(limit int64) error {
	if limit < 1<<20 {
		return fmt.Errorf("is larger than %d KiB", limit>>10)
	}
	return fmt.Errorf("is larger than %d MiB", limit>>20)
}

// regular returns an error for everything but a regular file.
func regular(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return errors.New("is a directory")
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("is a named pipe")
	case !mode.IsRegular():
		return errors.New("is not a regular file")
	}
	return nil
}

// checkMode returns an [*Error] if the file or directory has any of the forbidden permissions. A sticky directory is
// excused, because nobody can replace the files of others there. So is a group that can write, if its only member is the
// owner, but not for private keys, as with ssh.
func checkMode(path string, info fs.FileInfo, forbidden fs.FileMode) error {
	mode := info.Mode().Perm()
	if info.IsDir() && info.Mode()&fs.ModeSticky != 0 {
		return nil
	}
	const groupWrite = 0o020
	if forbidden == OthersWrite && mode&groupWrite != 0 && private(info) {
		forbidden &^= groupWrite
	}
	if mode&forbidden == 0 {
		return nil
	}
	access, fix := "write", "run: chmod 600 "
	if forbidden == OthersUse {
		access = "read or write"
	}
	if info.IsDir() {
		fix = "run: chmod go-w "
	}
	return &Error{Path: path, Err: fmt.Errorf("others can %s it (mode %04o)", access, mode), Fix: fix + Quote(path)}
}
