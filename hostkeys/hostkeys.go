// Package hostkeys makes and loads the host keys of an SSH server.
//
// A host key is the server's identity (RFC 4251, section 4.1). A client that connects for the first time shows its
// fingerprint; from then on it expects the same key and warns loudly of any other. So whoever copies a host key
// can pose as this server, and whoever loses it makes every client warn.
//
// # What lies in this directory
//
// The keys lie beside this package's source unless --hostkeys names another directory: ssh_host_ed25519_key,
// made when the server first starts without a host key, and whatever is put here by hand: ssh_host_*_key or id_*,
// in OpenSSH or PEM form, without a passphrase. There is one key of a type, since a server can show only one;
// clients choose among the types. Public keys (*.pub) are not needed and not read.
//
//   - Back the keys up, and move them along when the server moves. They are never committed.
//   - They are for the server's user alone: mode 600, in a directory that only its owner can write to.
//   - To see the fingerprint that a client shows: ssh-keygen -lf hostkeys/ssh_host_ed25519_key
//   - To give the server a new identity, move the old key away and start the server.
//
// A key that is here and cannot be used stops the server. It is never replaced, because a new identity that nobody
// asked for looks like an attack to every client.
package hostkeys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// Key is a host key and the file that it lies in.
type Key struct {
	Path   string       // the private key's file, below the directory as the caller spelt it
	Signer gossh.Signer // proves the server's identity; what AddHostKey takes
}

// Type is the key's name in the protocol and in known_hosts, such as ssh-ed25519 or ecdsa-sha2-nistp256.
func (k Key) Type() string { return k.Signer.PublicKey().Type() }

// Fingerprint is what a client shows when it first connects, in the form SHA256:… of ssh-keygen -l.
func (k Key) Fingerprint() string { return gossh.FingerprintSHA256(k.Signer.PublicKey()) }

// Bits is the key's size as ssh-keygen -l counts it: the modulus of RSA, the curve of the others. It is 0 for a
// signer that did not come from this package and is of another kind.
func (k Key) Bits() int {
	pub, ok := k.Signer.PublicKey().(gossh.CryptoPublicKey)
	if !ok {
		return 0
	}
	switch pub := pub.CryptoPublicKey().(type) {
	case *rsa.PublicKey:
		return pub.N.BitLen()
	case *ecdsa.PublicKey:
		return pub.Curve.Params().BitSize
	case ed25519.PublicKey:
		return 8 * len(pub)
	}
	return 0
}

// Load returns every host key in dir, sorted by file name. There is no key and no error when dir is missing or holds
// none. Host keys are the files named ssh_host_*_key or id_*, but for public keys (*.pub) and Go files.
//
// One file that cannot be used fails the whole: a server that went on without it would change its identity. So does
// a second key of a type, of which the server would silently drop one, and a directory in which others can write.
// These errors are of type [*Error].
func Load(dir string) ([]Key, error) {
	if err := checkDir(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, dirError(dir, err)
	}
	var keys []Key
	pathOf := make(map[string]string) // by type
	for _, entry := range entries {
		if !isHostKey(entry.Name()) {
			continue
		}
		key, err := load(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		if other, taken := pathOf[key.Type()]; taken {
			return nil, sameType(key, other)
		}
		pathOf[key.Type()] = key.Path
		keys = append(keys, key)
	}
	return keys, nil
}

// LoadOrCreate is [Load], and makes an ed25519 key where there is no host key at all; created reports whether it
// did. Of several servers that start at once on an empty directory one makes the key and the others load it.
func LoadOrCreate(dir string) (keys []Key, created bool, err error) {
	keys, err = Load(dir)
	if err != nil || len(keys) > 0 {
		return keys, false, err
	}
	key, err := Create(dir, "ed25519")
	if errors.Is(err, fs.ErrExist) {
		return loadWinner(dir, err)
	}
	if err != nil {
		return nil, false, err
	}
	return []Key{key}, true, nil
}

// loadWinner returns the keys of whoever was faster, or lost when they are gone again: a server with no key and no
// error would be given one that nobody knows.
func loadWinner(dir string, lost error) ([]Key, bool, error) {
	keys, err := Load(dir)
	if err == nil && len(keys) == 0 {
		err = lost
	}
	return keys, false, err
}

// isHostKey reports whether a file of that name is taken for a host key. Dot files, such as the pending file of a
// key in the making, match neither pattern.
func isHostKey(name string) bool {
	if strings.HasSuffix(name, ".pub") || strings.HasSuffix(name, ".go") {
		return false
	}
	for _, pattern := range []string{"ssh_host_*_key", "id_*"} {
		if ok, _ := filepath.Match(pattern, name); ok {
			return true
		}
	}
	return false
}

// checkDir returns an error that is [fs.ErrNotExist] when dir is missing, and an [*Error] when it must not be used.
// The sticky bit is no excuse: it keeps others from replacing a key, not from adding one.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if link, linkErr := os.Lstat(dir); linkErr == nil && link.Mode()&fs.ModeSymlink != 0 {
			return dirError(dir, errDangling)
		}
		return err
	case err != nil:
		return dirError(dir, err)
	case !info.IsDir():
		return dirError(dir, errNotDir)
	case info.Mode().Perm()&0o022 != 0:
		return dirError(dir, fmt.Errorf("%w (mode %04o)", errOpenDir, info.Mode().Perm()))
	}
	return nil
}
