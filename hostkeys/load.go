package hostkeys

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	gossh "golang.org/x/crypto/ssh"
)

const (
	// maxSize is many times what the largest RSA key takes (16384 bits: 13 kB). It bounds what is read when
	// something else lies under the name.
	maxSize = 64 << 10

	// minRSABits is the least that NIST SP 800-131A still allows for signatures.
	minRSABits = 2048
)

// load returns the host key in the file, or an [*Error].
func load(path string) (Key, error) {
	data, err := read(path)
	if err != nil {
		return Key{}, keyError(path, err)
	}
	signer, err := parse(data)
	if err != nil {
		return Key{}, keyError(path, err)
	}
	return Key{Path: path, Signer: signer}, nil
}

// read returns the content of a private file. It looks at the file that it has opened, not at the name, which may
// stand for another one by then; O_NONBLOCK is what opens a FIFO without waiting for its writer.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist): // although the directory lists it
		return nil, errDangling
	case errors.Is(err, syscall.ENXIO): // a socket
		return nil, errNotRegular
	case err != nil:
		return nil, err
	}
	defer f.Close()

	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errNotRegular
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w (mode %04o)", errOpenFile, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = errTooLarge
	}
	return data, err
}

// parse returns the private key in data, if it is one that clients accept and that works.
func parse(data []byte) (gossh.Signer, error) {
	signer, err := gossh.ParsePrivateKey(data)
	if err != nil {
		return nil, refusal(data, err)
	}
	switch signer.PublicKey().Type() {
	case gossh.KeyAlgoRSA:
		if bits := (Key{Signer: signer}).Bits(); bits < minRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits, where clients expect at least %d", bits, minRSABits)
		}
	case gossh.KeyAlgoED25519:
		if !works(signer) {
			return nil, errDamaged
		}
	case gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521:
	default:
		return nil, errDamaged
	}
	return signer, nil
}

// refusal says why data, which does not parse, is no host key.
func refusal(data []byte, parseErr error) error {
	block, _ := pem.Decode(data)
	if block == nil {
		block = new(pem.Block)
	}
	_, encrypted := errors.AsType[*gossh.PassphraseMissingError](parseErr)
	_, _, _, _, notPublic := gossh.ParseAuthorizedKey(data)
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return errEmpty
	case encrypted, block.Type == "ENCRYPTED PRIVATE KEY": // PKCS#8, which the parser does not know encrypted
		return errPassphrase
	case notPublic == nil, bytes.Contains(data, []byte("PUBLIC KEY")):
		return errPublic
	case block.Type == "DSA PRIVATE KEY", bytes.Contains(block.Bytes, []byte("ssh-dss")): // the latter in OpenSSH's form
		return errDSA
	}
	return errDamaged
}

// works reports whether what the key signs, its own public half verifies. The parser compares the halves of
// every kind but Ed25519 in OpenSSH form; with a damaged one the server would start, and every client hang up on it.
func works(signer gossh.Signer) bool {
	probe := []byte("foyer")
	sig, err := signer.Sign(rand.Reader, probe)
	return err == nil && signer.PublicKey().Verify(probe, sig) == nil
}
