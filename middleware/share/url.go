package share

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"

	"github.com/valkey-io/valkey-go"
)

// URL is where an engine is: redis://USER@HOST:PORT/DATABASE, rediss:// with TLS, or valkey://. More nodes of a cluster, or
// more sentinels, are ?addr=HOST:PORT; ?master_set=NAME makes the addresses those of sentinels. It has no password.
type URL string

func (u URL) String() string { return string(u) }

// ErrPassword is why a URL is refused that has a password: it would be shown wherever the setting is.
var ErrPassword = errors.New("the URL has a password")

// ParseURL checks a URL. Its errors do not contain the URL, which may have a password.
func ParseURL(text string) (URL, error) {
	parsed, err := url.Parse(text)
	if err != nil {
		return "", errors.New("the URL cannot be read") // the cause quotes parts of it
	}
	if _, has := parsed.User.Password(); has {
		return "", ErrPassword
	}
	if !slices.Contains([]string{"redis", "rediss", "valkey", "valkeys", "unix"}, parsed.Scheme) {
		return "", errors.New("the URL does not begin with redis://, rediss:// or valkey://")
	}
	for name := range parsed.Query() {
		if !slices.Contains([]string{"addr", "master_set", "db"}, name) {
			return "", fmt.Errorf("the URL has the unknown parameter %q", name)
		}
	}
	if _, err = valkey.ParseURL(text); err != nil {
		return "", fmt.Errorf("the database %q is not a number", parsed.Path)
	}
	return URL(text), nil
}

var name = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`)

// ParseName checks the name of a fleet, which is a part of the keys in the engine.
func ParseName(text string) (string, error) {
	if !name.MatchString(text) {
		return "", fmt.Errorf("%q is not 1 to 64 letters, digits, dots, dashes and underscores", text)
	}
	return text, nil
}
