package share

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"

	"foyer/middleware/watchfile"
)

// Key is the secret with which sources are hashed, so that the engine's operator does not learn who has visited. All
// replicas have the same one. Without a key an ID is the source itself, such as 192.0.2.1/32.
type Key []byte

const (
	leastKey = 16
	maxFile  = 4 << 10
	hashed   = 16 // bytes of an ID
)

// ReadKey reads a key from a file, without white space around it.
func ReadKey(path string) (Key, error) {
	text, err := ReadSecret(path)
	if err == nil && len(text) < leastKey {
		err = fmt.Errorf("%s: the key has less than %d bytes", path, leastKey)
	}
	return Key(text), err
}

// ReadSecret reads a file with a secret, without white space around it.
func ReadSecret(path string) (string, error) {
	text, err := watchfile.ReadFile(path, maxFile, watchfile.OthersWrite)
	return strings.TrimSpace(text), err
}

// ID returns the ID of a source. A replica cannot find the source of a hash, but it can find the hash of each source that
// connects, which is all that it needs.
func (k Key) ID(source netip.Prefix) string {
	if len(k) == 0 {
		return source.String()
	}
	mac := hmac.New(sha256.New, k)
	_, _ = mac.Write([]byte(source.String()))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:hashed])
}

// valid reports whether ID can return id.
func (k Key) valid(id string) bool {
	if len(k) > 0 {
		sum, err := base64.RawURLEncoding.Strict().DecodeString(id)
		return err == nil && len(sum) == hashed
	}
	source, err := netip.ParsePrefix(id)
	return err == nil && source == source.Masked() && !source.Addr().Is4In6() && source.String() == id
}
