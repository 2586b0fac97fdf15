package authorizedkeys

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/auth/username"
	"foyer/middleware/watchfile"
)

// Add appends a public key, such as the content of a .pub file, to the user's file in dir, with its options and comment. A
// key in PEM format is converted. A missing directory is created with mode 0700, and a missing file with the owner, the group
// and the mode of the directory. The file is replaced atomically and keeps its own, and concurrent edits wait for each other.
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
	switch {
	case len(data) > keyfile.MaxFile:
		return "", errors.New("too long for a public key")
	case strings.HasPrefix(data, "PuTTY-User-Key-File"):
		return "", &keyfile.Error{Err: errPrivate, Fix: "run: puttygen FILE -L | foyer user add NAME --key -"}
	case strings.Contains(data, "PRIVATE KEY"):
		return "", &keyfile.Error{Err: errPrivate, Fix: "give the file that ends in .pub"}
	}
	if key := fromPEM([]byte(data)); key != nil {
		data = string(gossh.MarshalAuthorizedKey(key))
	}
	lines, err := keyfile.Lines(data)
	if err != nil {
		return "", fmt.Errorf("the key %w", err)
	}
	var found []string
	for _, text := range lines {
		found = append(found, text)
	}
	found = append(found, "") // is not a public key
	if _, err = parseLine(found[0]); err == nil && len(found) > 2 {
		err = errors.New("several lines, but only one public key can be added")
	}
	return found[0], err
}

// fromPEM returns the public key if data is one in PEM and nothing else, or nil. ssh-keygen -i does not convert Ed25519 keys.
func fromPEM(data []byte) gossh.PublicKey {
	block, rest := pem.Decode(data)
	if block == nil || !bytes.HasPrefix(data, []byte("-----BEGIN ")) || len(bytes.TrimSpace(rest)) > 0 {
		return nil
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if block.Type == "RSA PUBLIC KEY" {
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	}
	if err != nil {
		return nil
	}
	key, _ := gossh.NewPublicKey(public)
	return key
}

// appended returns the content of a file with one more line.
func appended(data, text string) (string, error) {
	added, err := parseLine(text)
	if err != nil {
		return "", err
	}
	lines, err := keyfile.Lines(data)
	if err != nil {
		return "", err
	}
	used := 0
	for _, other := range lines {
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
