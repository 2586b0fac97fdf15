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
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	gossh "golang.org/x/crypto/ssh"
)

// rsaBits is what ssh-keygen makes by default.
const rsaBits = 3072

// Create makes a host key of type "ed25519", "rsa" (3072 bits) or "ecdsa" (P-256) in dir/ssh_host_TYPE_key, mode
// 600, in OpenSSH form. A missing dir is made, for the owner alone.
//
// Nothing is ever replaced: an existing file, or a key of that type under another name, is an error that is
// [fs.ErrExist]. The key appears under its name whole or not at all, whatever fails and whoever else makes one.
func Create(dir, keyType string) (Key, error) {
	private, err := generate(keyType)
	if err != nil {
		return Key{}, err
	}
	signer, err := gossh.NewSignerFromSigner(private)
	if err != nil {
		return Key{}, err
	}
	key := Key{Path: filepath.Join(dir, "ssh_host_"+keyType+"_key"), Signer: signer}

	if err := makeDir(dir); err != nil {
		return Key{}, err
	}
	if err := checkFree(dir, key); err != nil {
		return Key{}, createError(key.Path, err)
	}
	if err := write(key.Path, private); err != nil {
		return Key{}, createError(key.Path, err)
	}
	return key, nil
}

// generate makes a private key; its caller names a file after the type, which is safe once it is known.
func generate(keyType string) (crypto.Signer, error) {
	switch keyType {
	case "ed25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case "rsa":
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("unknown host key type %q: use ed25519, rsa or ecdsa", keyType)
}

// makeDir makes dir unless it is there already, fit to hold keys.
func makeDir(dir string) error {
	err := checkDir(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dirError(dir, err)
	}
	return nil
}

// checkFree returns an error when dir holds a key of the same type, such as id_rsa: with two of them the server
// would not start. What does not load is no concern of a new key; its own file is, and write looks after that.
func checkFree(dir string, key Key) error {
	keys, _ := Load(dir)
	for _, other := range keys {
		if other.Type() == key.Type() {
			return fmt.Errorf("%s is of type %s: %w", other.Path, other.Type(), fs.ErrExist)
		}
	}
	return nil
}

// write puts the key under its name in one step that fails when the name is taken. That is a link: renaming the
// pending file, as renameio does by itself, would replace the key of a server that was faster.
func write(path string, private crypto.Signer) error {
	block, err := gossh.MarshalPrivateKey(private, "foyer")
	if err != nil {
		return err
	}
	pending, err := renameio.TempFile(filepath.Dir(path), path) // mode 600, whatever the umask
	if err != nil {
		return err
	}
	defer pending.Cleanup()

	if err := pem.Encode(pending, block); err != nil {
		return err
	}
	if err := pending.Sync(); err != nil {
		return err
	}
	return os.Link(pending.Name(), path)
}
