package hostkeys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/watchfile"
)

// Create creates a host key of type "ed25519", "rsa" (3072 bits) or "ecdsa" (P-256) in dir/ssh_host_TYPE_key, with mode
// 600 and in OpenSSH format. If dir is missing, Create creates it with mode 700.
//
// Nothing is ever replaced: if the file exists, or a key of that type under another name, the error is fs.ErrExist. The
// file appears complete or not at all.
func Create(dir, keyType string) (Key, error) {
	key, text, err := newKey(filepath.Join(dir, "ssh_host_"+keyType+"_key"), keyType)
	if err != nil {
		return Key{}, err
	}
	if _, err := stat(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Key{}, err
	}
	edit, err := watchfile.EditDir(dir, true)
	if err != nil {
		return Key{}, dirError(dir, err)
	}
	defer edit.Close()
	if err = checkFree(dir, key); err == nil {
		err = edit.Create(filepath.Base(key.Path), text)
	}
	if err != nil {
		return Key{}, createError(key.Path, err)
	}
	return key, nil
}

// newKey returns a new key for the file at path, and the text of the file.
func newKey(path, keyType string) (key Key, text string, err error) {
	private, err := generate(keyType)
	if err != nil {
		return Key{}, "", err
	}
	signer, err := gossh.NewSignerFromSigner(private)
	if err != nil {
		return Key{}, "", err
	}
	block, err := gossh.MarshalPrivateKey(private, "foyer")
	if err != nil {
		return Key{}, "", err
	}
	return Key{Path: path, Signer: signer}, string(pem.EncodeToMemory(block)), nil
}

// generate returns a new private key. It also protects Create, which puts keyType into a path, from unknown types.
func generate(keyType string) (crypto.Signer, error) {
	switch keyType {
	case "ed25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 3072) // the default of ssh-keygen
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("host key type %q is not one of ed25519, rsa, ecdsa", keyType)
}

// checkFree returns an error if dir has another key of the same type, such as id_rsa: with both, the server would not start.
func checkFree(dir string, key Key) error {
	names, err := list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		// A file that cannot be loaded does not prevent a new key. Root also checks the files of the server's user.
		if other, err := load(filepath.Join(dir, name), 0); err == nil && other.Type() == key.Type() {
			return &fileError{Path: other.Path, Err: takenError(key.Type())}
		}
	}
	return nil
}

// takenError is [fs.ErrExist] for a type of keys.
type takenError string

func (t takenError) Error() string {
	return "has the type " + string(t) + " already, and a server has one key of a type"
}
func (takenError) Is(target error) bool { return target == fs.ErrExist }
