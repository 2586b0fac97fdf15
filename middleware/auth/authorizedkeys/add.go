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
	"foyer/middleware/watchfile"
)

// Add puts a public key, such as the content of a .pub file, at the end of the user's file in dir, options and comment
// included. A missing file or directory is made, for the owner alone. The file is replaced as a whole, with mode 0600,
// or not at all; what others add at the same time is kept.
//
// What [Dir.Authorize] would not use is an error, and so are a private key, several keys at once, a key that the user
// has already (fs.ErrExist), and a file that is not fit to be used, such as a symbolic link.
func Add(dir, user string, key []byte) error {
	if err := checkName(user); err != nil {
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
	return watchfile.Failure(filepath.Join(dir, user), add(dir, user, text))
}

// lock keeps all others from changing files in dir until unlock is called. It is made in dir and nowhere else: whom dir
// belongs to must not have root make a file where they like.
func lock(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, ".lock") // a name that is no user's
	f, err := lockedfile.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err == nil {
		return func() { _ = f.Close() }, nil
	}
	if _, missing := os.Lstat(path); missing == nil {
		return nil, watchfile.Failure(path, err) // a link, or root's, where root was the first to edit
	}
	return nil, watchfile.Failure(dir, err)
}

// oneLine returns the only line of data that is no comment.
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
			return "", errors.New("several lines, where one public key belongs")
		}
		found = text
	}
	_, err := parseLine(found)
	return found, err
}

// keyError is an error of the key that was to be added.
type keyError struct{ error }

// Hint is where the public key may be found.
func (*keyError) Hint() string { return "give the file that ends in .pub" }

func (e *keyError) Unwrap() error { return e.error }

func add(dir, user, text string) error {
	root, err := openDir(dir)
	if root == nil {
		return cmp.Or(err, fs.ErrNotExist)
	}
	defer func() { _ = root.Close() }()
	owner, err := owner(root, user)
	if err != nil {
		return err
	}
	data, _, err := watchfile.ReadVersion(root, user, filepath.Join(dir, user), keyfile.MaxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if data, err = appended(data, text); err != nil {
		return err
	}
	return watchfile.Replace(filepath.Join(dir, user), data, owner)
}

// owner returns what the owner of the user's file is to be: the one it has, else that of the directory. After an edit
// by root, the server must still be able to read it.
func owner(root *os.Root, user string) (fs.FileInfo, error) {
	info, err := root.Lstat(user)
	if errors.Is(err, fs.ErrNotExist) {
		return root.Stat(".")
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file") // a symbolic link would be replaced
	}
	return info, err
}

// appended returns the content of a file with a line added to it.
func appended(data, text string) (string, error) {
	added, err := parseLine(text)
	if err != nil {
		return "", err
	}
	used := 0
	for _, other := range keyfile.Lines(data) {
		l, err := parseLine(other)
		if string(l.blob) == string(added.blob) {
			return "", fmt.Errorf("this key of the user: %w", fs.ErrExist)
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
		return "", fmt.Errorf("would be larger than %d MiB", keyfile.MaxFile>>20)
	}
	return data, nil
}
