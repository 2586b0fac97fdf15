// Package hostkeys creates, loads and replaces the host keys of an SSH server.
//
// A host key is the identity of the server (RFC 4251, section 4.1). A client shows its fingerprint on the first
// connection. Later it expects the same key and warns of any other. Anybody who has a copy of the key can impersonate
// the server; if the key is lost, every client warns.
//
// # The files in this directory
//
// The keys are stored here, beside the source of this package, unless --hostkeys names another directory. The server
// creates ssh_host_ed25519_key when it starts without a host key. Other keys can be added by hand: ssh_host_*_key or
// id_*, in OpenSSH or PEM format, without a passphrase, one of each type. Of a PEM file with several blocks the first
// private key is used. Public keys (*.pub) are ignored, except a host certificate beside its key, named as for sshd:
// ssh_host_ed25519_key-cert.pub. A client with the key of its authority (@cert-authority in known_hosts) needs no other key
// of the server; the others get the plain key as before. A client of Go's library that knows only the plain key has to set
// HostKeyAlgorithms.
//
//   - Back the keys up, and move them together with the server. Never commit them.
//   - Only the user of the server may access them: mode 600, in a directory that only this user and root can write. Keys
//     that belong to root, as in Kubernetes, may also be readable by a group.
//   - To see the fingerprint that a client shows: ssh-keygen -lf hostkeys/ssh_host_ed25519_key
//   - To give the server a new identity, move the old key away and start the server.
//
// The server does not start if a key here cannot be used. It never replaces a key, because clients take a new identity
// for an attack. A certificate that cannot be used is left out with a warning. A running server reads the files again when
// they change, and uses them for new connections; while one cannot be used, it keeps the last good ones.
//
// # Replacing a key
//
// Beside the key in use may stand the next one and the previous one of its type: ssh_host_ed25519_key.next and
// ssh_host_ed25519_key.previous. The server announces and proves all of them to clients, and uses only the one in use in key
// exchanges (OpenSSH's PROTOCOL, section 2.5). [Rotate] makes the next key. [Promote] makes it the one in use, and the old
// one the previous one, which clients then keep, because other machines of the same name may still use it. [Retire] removes
// that, and clients forget it. Each step takes as long as it takes most clients to connect once. A client that has not seen
// the next key is warned when it is in use.
//
// A certificate goes with its key: ssh_host_ed25519_key.next-cert.pub, signed before the promotion, becomes that of the key
// in use, and the old one becomes ssh_host_ed25519_key.previous-cert.pub, which nothing reads and Retire removes. Without a
// certificate of the next key the server has none after the promotion.
package hostkeys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/watchfile"
)

// Key is a host key and its file.
type Key struct {
	Path        string       // the file of the private key
	Signer      gossh.Signer // for AddHostKey
	Certificate gossh.Signer // the key with its certificate, for AddHostKey too; nil without a valid one
	State       State
	Problem     *Error // why the certificate beside the key is not used, or what else the operator should repair; or nil
}

// Type returns the name of the key type in the protocol and in known_hosts, such as ssh-ed25519.
func (k Key) Type() string { return k.Signer.PublicKey().Type() }

// Fingerprint returns what a client shows on its first connection, as SHA256:… like ssh-keygen -l.
func (k Key) Fingerprint() string { return gossh.FingerprintSHA256(k.Signer.PublicKey()) }

// Bits returns the size of the key as ssh-keygen -l shows it, or 0 if [Load] does not accept keys of its type.
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

// Load returns the host keys in dir, sorted by file name: the files named ssh_host_*_key or id_*, except public keys
// (*.pub) and Go files; and after each key the next and the previous one (see [State]). If dir is missing, there are no keys and no error.
//
// Load returns an [*Error] if one of the files cannot be used, because without it the server would change its identity;
// if two keys in use have one type, because the server would silently drop one; and if anybody but root and the running user can
// change dir or a key.
func Load(dir string) ([]Key, error) {
	if err := checkDir(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return loadAll(dir, watchfile.OthersUse)
}

// loadAll is [Load] without a check of dir. See [watchfile.ReadFile] for forbidden.
func loadAll(dir string, forbidden fs.FileMode) ([]Key, error) {
	names, err := list(dir)
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, name := range names {
		key, err := load(filepath.Join(dir, name), forbidden)
		if err == nil {
			err = key.fit(keys)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// list returns the names of the host keys in dir.
func list(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, dirError(dir, err)
	}
	for _, entry := range entries {
		if isHostKey(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// LoadOrCreate is [Load], but creates an ed25519 key if there is no host key. Created reports whether it did. Of several
// servers that start at once with an empty directory, one creates the key and the others load it.
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

// loadWinner returns the keys of the server that was faster, or the error lost if they are gone again: the library gives a
// server without keys a random one.
func loadWinner(dir string, lost error) ([]Key, bool, error) {
	keys, err := Load(dir)
	if err == nil && len(keys) == 0 {
		err = lost
	}
	return keys, false, err
}

// isHostKey reports whether a file with that name is a host key, in any [State]. Dot files, such as temporary files, match neither pattern.
func isHostKey(name string) bool {
	if strings.HasSuffix(name, ".pub") || strings.HasSuffix(name, ".go") {
		return false
	}
	name, _ = split(name)
	hostKey, _ := filepath.Match("ssh_host_*_key", name)
	return hostKey || strings.HasPrefix(name, "id_")
}

// checkDir returns an [*Error] if dir cannot be used, or fs.ErrNotExist if it is missing.
func checkDir(dir string) error {
	info, err := stat(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = watchfile.Trust(dir, info, watchfile.OthersWrite)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return dirError(dir, err)
}

// stat describes dir. If dir is missing, the error is fs.ErrNotExist, and otherwise an [*Error].
func stat(dir string) (fs.FileInfo, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if link, linkErr := os.Lstat(dir); linkErr == nil && link.Mode()&fs.ModeSymlink != 0 {
			return nil, dirError(dir, errDangling)
		}
		return nil, err
	case err == nil && !info.IsDir():
		err = errNotDir
	}
	if err != nil {
		return nil, dirError(dir, err)
	}
	return info, nil
}
