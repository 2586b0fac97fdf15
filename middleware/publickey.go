package middleware

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/eventlog/sanitize"
)

// KeySource knows whose keys are whose. It is asked from many connections at once, about a key that was only shown as
// well as about one that was proven, and its answer is the same for both.
type KeySource interface {
	// Authorize returns what the user may do who holds key and comes from remote, as names in the Extensions (see
	// package keyfile), or an error for the log. It is [errors.ErrUnsupported] for a key of a kind that is none of
	// this source's, such as a certificate.
	Authorize(user string, remote net.Addr, key gossh.PublicKey) (*gossh.Permissions, error)
}

// What is known of a login with a key, beside what the key permits: names in the Extensions of its Permissions. A login
// that has no KeyFingerprint was not with a key.
const (
	// KeyFingerprint is the fingerprint of the key that was proven, also where a certificate vouched for it.
	KeyFingerprint = "fingerprint@foyer"
	// KeyCertificate says which certificate it was: its id, serial number and authority, clean enough for a log. An id
	// that is long or has a backslash in it is not there to the letter: serial number and authority are.
	KeyCertificate = "certificate@foyer"
)

// provenKey is where charm.land/ssh looks, once somebody is in, for the key that the session's PublicKey returns.
const provenKey = "gliderlabs/ssh.PublicKey"

// PublicKey returns the layer that lets in who holds a key, or a certificate, that one of the sources knows as theirs;
// the first that does decides what it permits. Sources are authorizedkeys.Dir and userca.Authorities.
//
// A key that is only shown lets nobody in, and nothing is kept of it: once its holder has proven it, the sources are
// asked again, about the user of that attempt. A source that panics, a name over 256 bytes, RSA with SHA-1 and DSA are
// refused. Logins that the key does not permit a PTY get none; other methods' logins are not affected. Session.PublicKey
// returns the proven key or certificate, and that of no other login.
//
// Without Methods, which counts them otherwise, six keys that are only shown may be refused, and each further one, or one
// that is proven at once, is one of six attempts.
func PublicKey(sources ...KeySource) Layer {
	algorithms := gossh.SupportedAlgorithms().PublicKeyAuths // without SHA-1
	return Layer{
		Name:    "publickey",
		Methods: []string{"publickey"},
		Server: func(*ssh.Server) error {
			if len(sources) == 0 || slices.Contains(sources, nil) {
				return errors.New("nothing to check keys with")
			}
			return nil
		},
		Connect: func(c *Conn) (Moments, error) {
			keys := keyCheck{c, sources, algorithms}
			return Moments{
				Configure: func(cfg *gossh.ServerConfig) {
					cfg.PublicKeyCallback = keys.offered
					cfg.VerifiedPublicKeyCallback = keys.proven
					cfg.PublicKeyAuthAlgorithms = algorithms
				},
				Terminal: func(ssh.Pty) bool { return permitsPTY(c.Context().Permissions()) },
			}, nil
		},
	}
}

// permitsPTY reports whether a login may have a PTY. A login without a key may.
func permitsPTY(granted *ssh.Permissions) bool {
	if granted == nil || granted.Permissions == nil {
		return true
	}
	_, withKey := granted.Extensions[KeyFingerprint]
	_, permitted := granted.Extensions[keyfile.PermitPTY]
	return permitted || !withKey
}

// keyCheck checks the keys of one connection. It keeps nothing between two attempts.
type keyCheck struct {
	conn       *Conn
	sources    []KeySource
	algorithms []string // of signatures, without SHA-1
}

// offered answers whether a key would be accepted. Nothing in the answer is an identity.
func (k keyCheck) offered(conn gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
	granted, err := k.authorize(conn, key)
	if err != nil {
		return nil, err
	}
	// Without extensions: x/crypto would find no-touch-required here. It checks the addresses at once.
	return &gossh.Permissions{CriticalOptions: maps.Clone(granted.CriticalOptions)}, nil
}

// proven decides on the user of an attempt who has proven to hold key. It asks the sources again, because the key may have
// been removed since it was offered.
func (k keyCheck) proven(conn gossh.ConnMetadata, key gossh.PublicKey, _ *gossh.Permissions, algorithm string) (*gossh.Permissions, error) {
	if !slices.Contains(k.algorithms, algorithm) {
		return nil, errors.New("a signature over SHA-1")
	}
	granted, err := k.authorize(conn, key)
	if err != nil {
		return nil, err
	}
	extensions := map[string]string{}
	maps.Copy(extensions, granted.Extensions)
	delete(extensions, keyfile.NoTouchRequired)
	delete(extensions, KeyCertificate)
	extensions[KeyFingerprint] = gossh.FingerprintSHA256(key)
	if cert, ok := key.(*gossh.Certificate); ok {
		extensions[KeyFingerprint] = gossh.FingerprintSHA256(cert.Key)
		extensions[KeyCertificate] = fmt.Sprintf("%s serial %d by %s",
			sanitize.String(cert.KeyId, maxShownText), cert.Serial, gossh.FingerprintSHA256(cert.SignatureKey))
	}
	extensions[provenKey] = base64.StdEncoding.EncodeToString(key.Marshal())
	return &gossh.Permissions{CriticalOptions: maps.Clone(granted.CriticalOptions), Extensions: extensions}, nil
}

// errNoKey says no more than that: whether the user exists is nobody's business.
var errNoKey = errors.New("key not authorized")

// authorize asks the sources. The error is that of the first one whose kind of key it is.
func (k keyCheck) authorize(conn gossh.ConnMetadata, key gossh.PublicKey) (granted *gossh.Permissions, err error) {
	defer k.conn.recoverAttempt(&err)
	if len(conn.User()) > maxUser {
		return nil, errNoKey
	}
	refusal := errNoKey
	for _, source := range k.sources {
		granted, err := source.Authorize(conn.User(), conn.RemoteAddr(), key)
		if err == nil && granted != nil {
			return granted, nil
		}
		if err != nil && refusal == errNoKey && !errors.Is(err, errors.ErrUnsupported) {
			refusal = err
		}
	}
	return nil, refusal
}
