package authorizedkeys

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

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
	e, err := watchfile.EditDir(dir, true)
	if err != nil {
		return err
	}
	defer e.Close()
	path := filepath.Join(dir, name)
	data, old, err := e.Read(name, path, keyfile.MaxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if data, err = appended(data, text); err == nil {
		err = e.Replace(name, data, old)
	}
	return watchfile.Failure(path, err)
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
