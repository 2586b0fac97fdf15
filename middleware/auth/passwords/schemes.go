package passwords

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// The limits of a hash. Every client can make the server do this work.
const (
	maxMemory = 256 << 20 // bytes, of one hash
	maxArgon  = 1 << 30   // bytes, memory times passes
	maxLanes  = 16        // of argon2id
	maxScrypt = 512 << 20 // bytes, memory times p
	minCost   = 4         // of bcrypt: the minimum of the scheme
	maxCost   = 14        // of bcrypt: about a second
	minRounds = 1_000     // of sha512-crypt: the minimum of crypt(3)
	maxRounds = 1_000_000 // of sha512-crypt: about a second
)

const schemePlain = "plain text"

// secret is the part of a line after the colon.
type secret struct {
	scheme string
	matcher
}

type matcher interface{ MatchBytes(password []byte) bool }

// Match checks a copy of the password and wipes it.
func (s secret) Match(password string) bool {
	b := []byte(password)
	defer clear(b)
	return s.MatchBytes(b)
}

func (s secret) plain() bool { return s.scheme == schemePlain }

// plainSum is the SHA-256 sum of a plain-text secret.
type plainSum [sha256.Size]byte

// MatchBytes compares in constant time.
func (p plainSum) MatchBytes(password []byte) bool {
	sum := sha256.Sum256(password)
	return subtle.ConstantTimeCompare(p[:], sum[:]) == 1
}

// plainSecret keeps only a sum of the password. All sums have the same length, as a comparison in constant time needs.
func plainSecret(password string) secret {
	return secret{schemePlain, plainSum(sha256.Sum256([]byte(password)))}
}

// scheme is a kind of hash. The regular expression checks every character, because the decoders of the library accept too
// much: a negative ln, for which they panic, a key of one byte, which one password in 256 matches, and unlimited parameters.
type scheme struct {
	name   string
	prefix string
	form   func() *regexp.Regexp
	within func(param []string) bool // whether the submatches of form are within the bounds
	bounds string                    // the bounds, for the operator
	decode algorithm.DecodeFunc
}

const (
	number = `([1-9][0-9]{0,9})`    // not zero, and too short to overflow 64 bits
	salt64 = `[A-Za-z0-9+/]{11,86}` // base64 of 8 to 64 bytes
	key64  = `[A-Za-z0-9+/]{22,86}` // base64 of 16 to 64 bytes

	// The alphabet of crypt(3).
	itoa64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

var schemes = []scheme{
	{
		name: "argon2id", prefix: "$argon2id$", decode: argon2.Decode,
		form:   pattern(`^\$argon2id\$v=19\$m=` + number + `,t=` + number + `,p=` + number + `\$` + salt64 + `\$` + key64 + `$`),
		within: argon2Within,
		bounds: "m at most 262144 (256 MiB), m times t at most 1048576, p at most 16, m at least 8p",
	},
	{
		name: "bcrypt", prefix: "$2", decode: decodeBcrypt,
		form:   pattern(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`),
		within: func(param []string) bool { return minCost <= num(param[0]) && num(param[0]) <= maxCost },
		bounds: "a cost of 4 to 14",
	},
	{
		name: "scrypt", prefix: "$scrypt$", decode: scrypt.Decode,
		form:   pattern(`^\$scrypt\$ln=` + number + `,r=` + number + `,p=` + number + `\$` + salt64 + `\$` + key64 + `$`),
		within: func(param []string) bool { return scryptWithin(num(param[0]), num(param[1]), num(param[2])) },
		bounds: "128 * r * 2^ln at most 256 MiB, times p at most 512 MiB",
	},
	{
		// j: the flags of native yescrypt, the only ones that the library supports and libxcrypt uses. N is 2^10 to 2^18 and
		// r is 1 to 32, each encoded in one character. The library does not support longer settings (p, t, g or a ROM).
		// crypt(5): up to 86 characters of salt.
		name: "yescrypt", prefix: "$y$", decode: decodeYescrypt,
		form:   pattern(`^\$y\$j([7-9A-F])([./0-9A-T])\$[./0-9A-Za-z]{1,86}\$[./0-9A-Za-z]{43}$`),
		within: func(param []string) bool { return scryptWithin(digit(param[0])+1, digit(param[1])+1, 1) },
		bounds: "at most 256 MiB, as with cost 9 of mkpasswd",
	},
	{
		// The salt is that of crypt(5) without "=", so that "rounds=…" is not taken for a salt.
		name: "sha512-crypt", prefix: "$6$", decode: shacrypt.Decode,
		form:   pattern(`^\$6\$(?:rounds=` + number + `\$)?[!-#%-9;<>-~]{1,16}\$[./0-9A-Za-z]{86}$`),
		within: sha512Within,
		bounds: "1000 to 1000000 rounds",
	},
}

// pattern returns a function that compiles expr on its first call. To compile the forms of all schemes takes a millisecond,
// and most files need only one or two.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// num parses a number that has matched a form. An optional number may be empty, which is 0.
func num(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// digit parses one character of the alphabet of crypt(3) that has matched a form.
func digit(s string) uint64 { return uint64(strings.Index(itoa64, s)) }

func argon2Within(param []string) bool {
	m, t, p := num(param[0]), num(param[1]), num(param[2])
	return p <= maxLanes && m >= 8*p && m <= maxMemory>>10 && t <= maxArgon>>10/m
}

func scryptWithin(ln, r, p uint64) bool {
	if r > maxMemory/128>>ln { // 128 * r << ln may overflow
		return false
	}
	return p <= maxScrypt/(128*r<<ln)
}

func sha512Within(param []string) bool {
	rounds := num(param[0])
	return param[0] == "" || minRounds <= rounds && rounds <= maxRounds
}

// supported says which hashes a file can have.
const supported = "use argon2id, bcrypt, scrypt, yescrypt or sha512-crypt"

// parseSecret parses the part of a line after the colon. A hash with white space in front does not become plain text.
func parseSecret(text string) (secret, error) {
	start := strings.TrimSpace(text)
	switch {
	case start == "":
		return secret{}, errors.New("empty secret")
	case strings.Contains(text, ":"):
		return secret{}, refuseFields(start)
	case start[0] == '$', start[0] == '{':
		return parseHash(text)
	case len(text) > maxPassword:
		return secret{}, fmt.Errorf("password has %d bytes, at most %d are allowed", len(text), maxPassword)
	}
	err := refuse(start)
	if err == nil && !strings.HasPrefix(text, start) {
		err = errors.New("white space after the colon")
	}
	return plainSecret(text), err
}

func parseHash(text string) (secret, error) {
	for _, s := range schemes {
		if strings.HasPrefix(text, s.prefix) {
			digest, err := s.parse(text)
			return secret{s.name, digest}, err
		}
	}
	return secret{}, cmp.Or(refuse(text), errors.New("unknown kind of hash: "+supported))
}

func (s scheme) parse(text string) (matcher, error) {
	param := s.form().FindStringSubmatch(text)
	if param == nil {
		return nil, fmt.Errorf("malformed %s hash", s.name)
	}
	if !s.within(param[1:]) {
		return nil, fmt.Errorf("%s hash out of bounds: %s", s.name, s.bounds)
	}
	digest, err := s.decode(text)
	if err != nil {
		return nil, fmt.Errorf("malformed %s hash", s.name) // not the error of the library, which may quote the hash
	}
	return digest, nil
}

// decodeYescrypt refuses a salt that is not base64, which the library would take for an empty one.
func decodeYescrypt(text string) (algorithm.Digest, error) {
	digest, err := scrypt.Decode(text)
	if err == nil && len(digest.Salt()) == 0 {
		err = algorithm.ErrEncodedHashSaltEncoding
	}
	return digest, err
}

func decodeBcrypt(text string) (algorithm.Digest, error) {
	digest, err := bcrypt.Decode(text)
	return wholeBcrypt{digest}, err
}

// wholeBcrypt matches only passwords that bcrypt reads completely. bcrypt ignores everything after the 72nd byte. It repeats
// a shorter password with a NUL in between, so that "a\x00a" would match "a".
type wholeBcrypt struct{ algorithm.Digest }

// MatchBytes computes the hash even for a password that cannot match, so that the time reveals nothing.
func (d wholeBcrypt) MatchBytes(password []byte) bool {
	read := password[:min(len(password), bcrypt.PasswordInputSizeMax)]
	return d.Digest.MatchBytes(read) && len(read) == len(password) && !bytes.Contains(password, []byte{0})
}

// newHash returns the secret for a new password: argon2id with m=19456 (19 MiB), t=2, p=1, as in the OWASP Password Storage
// Cheat Sheet,
// https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id
func newHash(password string) (string, error) {
	hasher, err := argon2.New(argon2.WithVariantID(), argon2.WithM(19<<10), argon2.WithT(2), argon2.WithP(1))
	if err != nil {
		return "", err
	}
	digest, err := hasher.Hash(password)
	if err != nil {
		return "", err
	}
	return digest.Encode(), nil
}
