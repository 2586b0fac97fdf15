package middleware

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/eventlog/sanitize"
)

// KeySource authorizes keys. It must be safe for concurrent use. It is called for offered and for proven keys, and must
// give the same answer for both.
type KeySource interface {
	// Authorize returns what user may do after a login with key from remote, as names in the Extensions (see package
	// keyfile), or an error for the log. The error is [errors.ErrUnsupported] if the source does not handle this type
	// of key, such as a certificate.
	Authorize(user string, remote net.Addr, key gossh.PublicKey) (*gossh.Permissions, error)
}

// Names in the Extensions of a login's Permissions. Only logins with a key have a KeyFingerprint.
const (
	// KeyFingerprint is the fingerprint of the proven key, also if the key has a certificate.
	KeyFingerprint = "fingerprint@foyer"
	// KeyCertificate is the certificate's ID, serial number and authority, safe for a log. A long ID is shortened, and
	// special characters in it are escaped.
	KeyCertificate = "certificate@foyer"
)

// provenKey is the extension in which charm.land/ssh expects the key that the session's PublicKey returns.
const provenKey = "gliderlabs/ssh.PublicKey"

// PublicKey returns the layer that authenticates clients with keys and certificates. The first source that authorizes a
// key decides what it permits. Sources are authorizedkeys.Dir and userca.Authorities.
//
// An offered key authenticates nobody, and nothing about it is stored: when the client has proven to hold a key, the
// sources are asked again, for the user of that attempt. A user name over 256 bytes, RSA with SHA-1 and DSA are
// refused, and if a source panics, the attempt fails. A login with a key gets a PTY only if the key permits it.
// Session.PublicKey returns the proven key or certificate, and nil for other logins.
//
// x/crypto verifies the signature of a key even where it is refused. For a key that no source could accept, such as RSA of
// 16,384 bits, that is work which a stranger can choose: its first proof, or a second query, ends the connection.
//
// Methods limits the number of refused keys. Without it, the library's limit applies: six refused offers are free, and
// each further one, or a key that is proven without an offer, is one of six attempts.
func PublicKey(sources ...KeySource) Layer {
	algorithms := gossh.SupportedAlgorithms().PublicKeyAuths // without SHA-1
	return Layer{
		Name:    "publickey",
		Methods: []string{"publickey"},
		Server: func(*ssh.Server) error {
			if len(sources) == 0 || slices.Contains(sources, nil) {
				return errors.New("no key source")
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
				Attempt:  keys.endExpensive,
				Terminal: func(ssh.Pty) bool { return permitsPTY(c.Context().Permissions()) },
			}, nil
		},
	}
}

// permitsPTY reports whether a login may have a PTY. Logins without a key always may.
func permitsPTY(granted *ssh.Permissions) bool {
	if granted == nil || granted.Permissions == nil {
		return true
	}
	_, withKey := granted.Extensions[KeyFingerprint]
	_, permitted := granted.Extensions[keyfile.PermitPTY]
	return permitted || !withKey
}

// keyCheck checks the keys of one connection. It has no state, so attempts do not affect each other.
type keyCheck struct {
	conn       *Conn
	sources    []KeySource
	algorithms []string // of signatures
}

// unacceptableError is the refusal of a key that no source could accept.
type unacceptableError struct {
	error
	at time.Time // when it was refused; zero after the attempt
}

// endExpensive closes the connection after an attempt for which x/crypto has verified the signature of an unacceptable key.
// It does not say so; but a query takes microseconds, and such a key milliseconds. For a repetition it returns the same
// error from its cache.
func (k keyCheck) endExpensive(a Attempt) {
	refused, ok := errors.AsType[*unacceptableError](a.Err)
	if !ok {
		return
	}
	if refused.at.IsZero() || time.Since(refused.at) > time.Millisecond {
		k.conn.Logger().Warn("unacceptable key proven", "err", refused)
		_ = k.conn.Close()
	}
	refused.at = time.Time{}
}

// offered reports whether a key would be accepted. The result does not identify the client.
func (k keyCheck) offered(conn gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
	certified := key
	if cert, ok := key.(*gossh.Certificate); ok {
		certified = cert.Key
	}
	if err := keyfile.Strong(certified); err != nil {
		return nil, &unacceptableError{err, time.Now()}
	}
	granted, err := k.authorize(conn, key)
	if err != nil {
		return nil, err
	}
	// The extensions are left out, because x/crypto acts on no-touch-required. The critical options have the addresses,
	// which x/crypto checks.
	return &gossh.Permissions{CriticalOptions: maps.Clone(granted.CriticalOptions)}, nil
}

// proven authorizes the user of an attempt in which the client has proven to hold key. It asks the sources again,
// because the key may have been offered for another user, or removed since.
func (k keyCheck) proven(conn gossh.ConnMetadata, key gossh.PublicKey, _ *gossh.Permissions, algorithm string) (*gossh.Permissions, error) {
	if !slices.Contains(k.algorithms, algorithm) {
		return nil, errors.New("signature uses SHA-1")
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

// errNoKey does not say whether the user exists.
var errNoKey = errors.New("key not authorized")

// authorize asks the sources. The error comes from the first source that handles this type of key.
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
