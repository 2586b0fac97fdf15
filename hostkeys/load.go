package hostkeys

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/watchfile"
)

const (
	// maxSize is several times the size of the largest RSA key: 13 kB for 16384 bits.
	maxSize = 64 << 10

	// minRSABits is the minimum of NIST SP 800-131A for signatures.
	minRSABits = 2048
)

// load returns the host key in the file, or an [*Error]. See [watchfile.ReadFile] for forbidden.
func load(path string, forbidden fs.FileMode) (Key, error) {
	data, err := watchfile.ReadFile(path, maxSize, forbidden)
	if errors.Is(err, fs.ErrNotExist) { // although the directory lists it
		err = errDangling
	}
	if err != nil {
		return Key{}, keyError(path, err)
	}
	signer, err := parse([]byte(data))
	if err != nil {
		return Key{}, keyError(path, err)
	}
	key := Key{Path: path, Signer: signer}
	if _, key.State = split(path); key.State != Previous {
		key.certify()
	}
	return key, nil
}

// parse returns the first private key in data if it works and clients accept its type.
func parse(data []byte) (gossh.Signer, error) {
	data = fromPrivateKey(data)
	signer, err := gossh.ParsePrivateKey(data)
	if err != nil {
		return nil, refusal(data, err)
	}
	switch signer.PublicKey().Type() {
	case gossh.KeyAlgoRSA:
		if bits := (Key{Signer: signer}).Bits(); bits < minRSABits {
			return nil, fmt.Errorf("is an RSA key of %d bits, and clients expect at least %d", bits, minRSABits)
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

// fromPrivateKey returns data from its first private key on, or data if it has none. openssl writes other blocks before
// the key: EC PARAMETERS, or a certificate.
func fromPrivateKey(data []byte) []byte {
	for rest := data; ; {
		block, next := pem.Decode(rest)
		if block == nil {
			return data
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return rest
		}
		rest = next
	}
}

// refusal returns the reason why data, which gave parseErr, is not a host key.
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
	case bytes.HasPrefix(data, []byte("PuTTY-User-Key-File-")):
		return errPuTTY
	case encrypted, block.Type == "ENCRYPTED PRIVATE KEY": // the parser does not support encrypted PKCS #8
		return errPassphrase
	case notPublic == nil, bytes.Contains(data, []byte("PUBLIC KEY")):
		return errPublic
	case block.Type == "DSA PRIVATE KEY", bytes.Contains(block.Bytes, []byte("ssh-dss")): // OpenSSH's format
		return errDSA
	}
	return errDamaged
}

// works reports whether the public half verifies a signature of the private half. The parser compares the halves of all
// keys except Ed25519 in OpenSSH's format. If they differed, the server would start and every client would disconnect.
func works(signer gossh.Signer) bool {
	probe := []byte("foyer")
	sig, err := signer.Sign(rand.Reader, probe)
	return err == nil && signer.PublicKey().Verify(probe, sig) == nil
}
