// Package keyfile parses what the files of authorized keys, authorities and revocations have in common: lines, public keys
// and networks. It also decides which keys are strong enough, and names the permissions of a login.
package keyfile

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"
)

// MaxFile is the maximum size of a file, which is enough for about 10,000 keys.
const MaxFile = 1 << 20

// MaxLine is the maximum length of a line. An RSA key of 4096 bits takes 720 bytes; the rest is for options. sshd has no
// such limit.
const MaxLine = 64 << 10

// Lines returns the lines of data that are neither blank nor a comment, trimmed, with their numbers. It accepts a byte order
// mark, which sshd does not, CR LF line endings, and white space before the "#" of a comment. Data without such lines, because
// it is UTF-16 or its lines end in CR alone, is an error: it could seem to be one comment.
func Lines(data string) (iter.Seq2[int, string], error) {
	switch {
	case strings.HasPrefix(data, "\xff\xfe"), strings.HasPrefix(data, "\xfe\xff"), strings.Contains(data[:min(len(data), 2)], "\x00"):
		return nil, &Error{errors.New("is in UTF-16, and must be in UTF-8"), "run: iconv -f UTF-16 -t UTF-8 FILE > NEWFILE"}
	case !strings.Contains(data, "\n") && strings.Contains(strings.TrimRight(data, "\r"), "\r"):
		return nil, &Error{errors.New("has lines that end in CR, and must end in LF"), `run: tr '\r' '\n' < FILE > NEWFILE`}
	}
	return func(yield func(int, string) bool) {
		number := 0
		for raw := range strings.Lines(strings.TrimPrefix(data, "\ufeff")) {
			number++
			text := strings.Trim(raw, " \t\r\n")
			if text != "" && text[0] != '#' && !yield(number, text) {
				return
			}
		}
	}, nil
}

// IsKeyType reports whether word looks like the name of a key type rather than of an option.
func IsKeyType(word string) bool {
	starts := func(prefix string) bool { return strings.HasPrefix(word, prefix) }
	return slices.ContainsFunc([]string{"ssh-", "ecdsa-", "sk-", "rsa-sha2-"}, starts)
}

// ParseKey parses a public key in a file: its type, the key in base64, and an optional comment. As in sshd, the type of an
// RSA key may also be the name of a signature algorithm. Certificates and keys that are not [Strong] are an error. Errors do
// not quote text, which may be a private key.
func ParseKey(text string) (key gossh.PublicKey, comment string, err error) {
	if err := otherFormat(text); err != nil {
		return nil, "", err
	}
	kind, rest := cutWord(text)
	encoded, comment := cutWord(rest)
	switch {
	case !IsKeyType(kind) || encoded == "":
		return nil, "", errors.New("not a public key: use TYPE BASE64 COMMENT")
	case kind == "ssh-dss": // the library no longer supports it
		return nil, "", errors.New("a DSA key, which is too weak")
	}
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, "", errors.New("the key is truncated or damaged: it is not base64")
	}
	key, err = gossh.ParsePublicKey(blob)
	if err != nil {
		return nil, "", errors.New("the key is damaged, or of an unknown type")
	}
	if kind == gossh.KeyAlgoRSASHA256 || kind == gossh.KeyAlgoRSASHA512 {
		kind = gossh.KeyAlgoRSA
	}
	if key.Type() != kind {
		return nil, "", fmt.Errorf("the line has a key of type %s but names another type", key.Type())
	}
	return key, comment, Strong(key)
}

// otherFormat returns an error for the first line of a public key in another format.
func otherFormat(text string) error {
	for _, f := range []struct{ begin, name, option string }{
		{"---- BEGIN SSH2 PUBLIC KEY", "RFC 4716", ""},
		{"-----BEGIN PUBLIC KEY", "PKCS #8", "-m PKCS8 "},
		{"-----BEGIN RSA PUBLIC KEY", "PEM", "-m PEM "},
	} {
		if strings.HasPrefix(text, f.begin) {
			return &Error{errors.New("a public key in " + f.name + " format, not OpenSSH's"), "run: ssh-keygen -i " + f.option + "-f FILE"}
		}
	}
	return nil
}

func cutWord(text string) (word, rest string) {
	end := strings.IndexAny(text, " \t")
	if end < 0 {
		return text, ""
	}
	return text[:end], strings.TrimLeft(text[end:], " \t")
}

// The size of an RSA key in bits. Shorter keys are too weak (NIST SP 800-131A), and longer ones make each signature of an
// unauthenticated client expensive to verify.
const (
	minRSA = 2048
	maxRSA = 4096
)

// certificateError is [errors.ErrUnsupported] with a text that means something to an operator.
type certificateError struct{}

func (certificateError) Error() string        { return "a certificate is not a key" }
func (certificateError) Is(target error) bool { return target == errors.ErrUnsupported }

// Strong returns an error for a key that is not acceptable for authentication: RSA with less than 2048 or more than 4096
// bits, an unknown key type, or a certificate, whose error is [errors.ErrUnsupported]. It is cheap for every key that a
// client can send.
func Strong(key gossh.PublicKey) error {
	if _, ok := key.(*gossh.Certificate); ok {
		return certificateError{}
	}
	switch key.Type() {
	case gossh.KeyAlgoED25519, gossh.KeyAlgoSKED25519, gossh.KeyAlgoSKECDSA256,
		gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521:
		return nil
	case gossh.KeyAlgoRSA:
		return strongRSA(key)
	}
	return errors.New("a key type that is not accepted")
}

func strongRSA(key gossh.PublicKey) error {
	var public *rsa.PublicKey
	if key, ok := key.(gossh.CryptoPublicKey); ok {
		public, _ = key.CryptoPublicKey().(*rsa.PublicKey)
	}
	if public == nil {
		return errors.New("an RSA key of unknown size")
	}
	if bits := public.N.BitLen(); bits < minRSA || bits > maxRSA {
		return fmt.Errorf("an RSA key of %d bits, not %d to %d", bits, minRSA, maxRSA)
	}
	return nil
}
