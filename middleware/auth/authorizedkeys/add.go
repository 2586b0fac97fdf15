package authorizedkeys

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/lockedfile"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/auth/username"
	"foyer/middleware/watchfile"
)

// Add appends a public key, such as the content of a .pub file, to the user's file in dir, with its options and comment. A
// missing directory is created with mode 0700, and a missing file with the owner, the group and the mode of the directory.
// The file is replaced atomically and keeps its own, and concurrent edits wait for each other.
//
// It is an error if [Dir.Authorize] would not use the key or the file, if the key is a private one, if there are several,
// or if the user already has the key (fs.ErrExist).
func Add(dir, user string, key []byte) error {
	name, err := username.ToFile(user)
	if err != nil {
		return err
	}
	text, err := oneLine(string(key))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return watchfile.Failure(dir, err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	return watchfile.Failure(filepath.Join(dir, name), add(dir, name, text))
}

// lock makes other edits of dir wait until unlock is called. The lock file is always in dir itself: the owner of dir must
// not be able to make root create a file elsewhere.
func lock(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, ".lock") // belongs to no user
	f, err := lockedfile.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err == nil {
		return func() { _ = f.Close() }, nil
	}
	if _, missing := os.Lstat(path); missing == nil {
		return nil, watchfile.Failure(path, err) // a symbolic link, or root's file because root was the first to edit
	}
	return nil, watchfile.Failure(dir, err)
}

// oneLine returns the only line of data that is not a comment.
func oneLine(data string) (string, error) {
	if len(data) > keyfile.MaxFile {
		return "", errors.New("too long for a public key")
	}
	if strings.Contains(data, "PRIVATE KEY") || strings.HasPrefix(data, "PuTTY-User-Key-File") {
		return "", &keyError{errPrivate}
	}
	var found string
	for _, text := range keyfile.Lines(data) {
		if found != "" {
			return "", errors.New("several lines, but only one public key can be added")
		}
		found = text
	}
	_, err := parseLine(found)
	return found, err
}

// keyError is an error of the key for [Add].
type keyError struct{ error }

// Hint says where the public key is.
func (*keyError) Hint() string { return "give the file that ends in .pub" }

func (e *keyError) Unwrap() error { return e.error }

func add(dir, name, text string) error {
	root, err := openDir(dir)
	if root == nil {
		return cmp.Or(err, fs.ErrNotExist)
	}
	defer func() { _ = root.Close() }()
	old, err := ownerOf(root, name)
	if err != nil {
		return err
	}
	data, _, err := watchfile.ReadVersion(root, name, filepath.Join(dir, name), keyfile.MaxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if data, err = appended(data, text); err != nil {
		return err
	}
	return watchfile.Replace(filepath.Join(dir, name), data, old)
}

// ownerOf returns the file or, if it is missing, the directory. Its owner becomes the owner of the edited file.
func ownerOf(root *os.Root, name string) (fs.FileInfo, error) {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return root.Stat(".")
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file") // a symbolic link would be replaced
	}
	return info, err
}

// appended returns the content of a file with one more line.
func appended(data, text string) (string, error) {
	added, err := parseLine(text)
	if err != nil {
		return "", err
	}
	used := 0
	for _, other := range keyfile.Lines(data) {
		l, err := parseLine(other)
		if string(l.blob) == string(added.blob) {
			return "", fmt.Errorf("the user already has this key: %w", fs.ErrExist)
		}
		if err == nil {
			used++
		}
	}
	if used >= maxKeys {
		return "", errTooMany
	}
	if data != "" && !strings.HasSuffix(data, "\n") {
		data += "\n"
	}
	data += text + "\n"
	if len(data) > keyfile.MaxFile {
		return "", fmt.Errorf("would be larger than %d MiB, the limit", keyfile.MaxFile>>20)
	}
	return data, nil
}
