// Package keyfile is what the files that say who may come in with a key have in common, be it a user's authorized keys,
// the authorities that sign certificates, or the list of what they revoked: what a line is, which keys are strong enough,
// and in which words a permission is written down.
package keyfile

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// MaxFile bounds what is read: 1 MiB are some 10,000 keys. A larger file is something else put in its place.
const MaxFile = 1 << 20

// MaxLine bounds a line: an RSA key of 8192 bits has 1,500 bytes, and the rest is options. sshd reads lines of any
// length, and nobody writes them.
const MaxLine = 64 << 10

// Lines returns the lines of data that are neither blank nor a comment, trimmed, each with its number. A byte order
// mark and CR LF are accepted; an indented "#" is a comment too.
func Lines(data string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		number := 0
		for raw := range strings.Lines(strings.TrimPrefix(data, "\ufeff")) {
			number++
			text := strings.Trim(raw, " \t\r\n")
			if text != "" && text[0] != '#' && !yield(number, text) {
				return
			}
		}
	}
}

// IsKeyType reports whether word is, or pretends to be, the name of a kind of key rather than that of an option.
func IsKeyType(word string) bool {
	for _, prefix := range []string{"ssh-", "ecdsa-", "sk-", "rsa-sha2-"} {
		if strings.HasPrefix(word, prefix) {
			return true
		}
	}
	return false
}

// ParseKey parses a public key as it stands in a file: its type, the key in base64, and perhaps a comment. A key that
// is not [Strong] is an error, and so is a certificate. No error quotes from text.
func ParseKey(text string) (key gossh.PublicKey, comment string, err error) {
	kind, rest := cutWord(text)
	encoded, comment := cutWord(rest)
	switch {
	case !IsKeyType(kind) || encoded == "":
		return nil, "", errors.New("not a public key: it reads TYPE BASE64 COMMENT")
	case kind == "ssh-dss": // the library knows it no longer
		return nil, "", errors.New("a DSA key, which is too weak")
	}
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, "", errors.New("the key is cut off or damaged: it is not base64")
	}
	key, err = gossh.ParsePublicKey(blob)
	if err != nil {
		return nil, "", errors.New("the key is damaged, or of an unknown type")
	}
	if key.Type() != kind {
		return nil, "", fmt.Errorf("the key is of type %s and says it is of another", key.Type())
	}
	return key, comment, Strong(key)
}

// cutWord takes the first word off text.
func cutWord(text string) (word, rest string) {
	end := strings.IndexAny(text, " \t")
	if end < 0 {
		return text, ""
	}
	return text[:end], strings.TrimLeft(text[end:], " \t")
}

// The moduli of RSA, in bits: less is broken soon (NIST SP 800-131A), and more makes each stranger's signature a
// burden.
const (
	minRSA = 2048
	maxRSA = 8192
)

// ErrCertificate is why a certificate is no key. It is [errors.ErrUnsupported].
var ErrCertificate error = certificateError{}

// certificateError is [errors.ErrUnsupported] without its words, which say nothing to an operator.
type certificateError struct{}

func (certificateError) Error() string        { return "a certificate is not a key" }
func (certificateError) Is(target error) bool { return target == errors.ErrUnsupported }

// Strong returns an error for a key that is not good enough to prove who somebody is: RSA of other than 2048 to 8192
// bits, every kind that this package does not know, and certificates, which are not keys. It costs next to nothing,
// whatever key a stranger has made up.
func Strong(key gossh.PublicKey) error {
	if _, ok := key.(*gossh.Certificate); ok {
		return ErrCertificate
	}
	switch key.Type() {
	case gossh.KeyAlgoED25519, gossh.KeyAlgoSKED25519, gossh.KeyAlgoSKECDSA256,
		gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521:
		return nil
	case gossh.KeyAlgoRSA:
		return strongRSA(key)
	}
	return errors.New("a kind of key that is not accepted")
}

func strongRSA(key gossh.PublicKey) error {
	wrapped, ok := key.(gossh.CryptoPublicKey)
	if !ok {
		return errors.New("an RSA key of unknown size")
	}
	modulus, ok := wrapped.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return errors.New("an RSA key of unknown size")
	}
	if bits := modulus.N.BitLen(); bits < minRSA || bits > maxRSA {
		return fmt.Errorf("an RSA key of %d bits, not %d to %d", bits, minRSA, maxRSA)
	}
	return nil
}
