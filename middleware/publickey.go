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

// KeySource authorizes keys. It must be safe for concurrent use. It is called for offered and for proven keys, and must
// give the same answer for both; and again for each channel of the connection, so that who was removed opens no more.
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
// Session.PublicKey returns the proven key or certificate, and nil for other logins. Once no source authorizes the key any
// more, the connection stays open and opens no more sessions.
//
// Clients ask about a key before they prove to hold it. Who proves a refused key without a question, or after the refusal,
// fails an attempt, as with a wrong password. Its signature is verified only if the client has asked about that key before.
// The first proof of a key that no source could accept, such as RSA of 16,384 bits, or a second question, ends the connection.
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
			var proven gossh.PublicKey
			var user access
			return Moments{
				Configure: func(cfg *gossh.ServerConfig) {
					cfg.PublicKeyCallback = keys.offered
					cfg.VerifiedPublicKeyCallback = func(conn gossh.ConnMetadata, key gossh.PublicKey, _ *gossh.Permissions, algorithm string) (*gossh.Permissions, error) {
						granted, err := keys.proven(conn, key, algorithm)
						if err == nil {
							proven = key
							user.checked()
						}
						return granted, err
					}
					cfg.PublicKeyAuthAlgorithms = algorithms
				},
				Attempt: keys.endInsistent,
				Open: func(gossh.NewChannel, int) error {
					return user.open(c, func() bool {
						_, err := keys.authorize(c.Context(), proven)
						return err == nil
					})
				},
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

// refusedKey is why a key is not accepted.
type refusedKey struct {
	error
	never      bool     // no source could accept it
	algorithms []string // that x/crypto accepted before the attempt
}

// refuse refuses the key of an attempt. After the callback x/crypto verifies the signature of a refused key all the same,
// which is work that a stranger can choose. But first it looks whether the signature's algorithm is accepted. So until the
// attempt is over, none is.
func (k keyCheck) refuse(err error, never bool) error {
	refused := &refusedKey{err, never, slices.Clone(k.conn.keyAlgorithms)}
	clear(k.conn.keyAlgorithms)
	k.conn.refused = refused
	return refused
}

// keyOutcome returns what became of an attempt with a public key that has ended with err, and why. It is called once for
// each attempt.
func (c *Conn) keyOutcome(err error) (Outcome, error) {
	refused := c.refused
	c.refused = nil
	earlier, repeated := errors.AsType[*refusedKey](err)
	if refused != nil {
		copy(c.keyAlgorithms, refused.algorithms)
	}
	switch {
	case err == refused:
		return KeyRefused, err // the client has only asked
	case refused != nil:
		return AttemptFailed, refused // no algorithm was accepted: the client has sent a proof
	case repeated:
		return AttemptFailed, earlier // x/crypto remembers the key, so the client knows that it is refused
	}
	return KeyRefused, err // malformed, or of an unknown type
}

// endInsistent ends the connection of a client that has proven a key which no source could accept, or asked twice.
func (k keyCheck) endInsistent(a Attempt) {
	if refused, ok := errors.AsType[*refusedKey](a.Err); ok && refused.never && a.Outcome == AttemptFailed {
		k.conn.Logger().Warn("unacceptable key proven", "err", refused)
		_ = k.conn.Close()
	}
}

// offered reports whether a key would be accepted. The result does not identify the client.
func (k keyCheck) offered(conn gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
	certified := key
	if cert, ok := key.(*gossh.Certificate); ok {
		certified = cert.Key
	}
	if err := keyfile.Strong(certified); err != nil {
		return nil, k.refuse(err, true)
	}
	granted, err := k.authorize(conn, key)
	if err != nil {
		return nil, k.refuse(err, false)
	}
	// The extensions are left out, because x/crypto acts on no-touch-required. The critical options have the addresses,
	// which x/crypto checks.
	return &gossh.Permissions{CriticalOptions: maps.Clone(granted.CriticalOptions)}, nil
}

// proven authorizes the user of an attempt in which the client has proven to hold key. It asks the sources again,
// because the key may have been offered for another user, or removed since.
func (k keyCheck) proven(conn gossh.ConnMetadata, key gossh.PublicKey, algorithm string) (*gossh.Permissions, error) {
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

// visitor says who logs in, and from where: a [gossh.ConnMetadata] or an [ssh.Context].
type visitor interface {
	User() string
	RemoteAddr() net.Addr
}

// authorize asks the sources. The error comes from the first source that handles this type of key.
func (k keyCheck) authorize(conn visitor, key gossh.PublicKey) (granted *gossh.Permissions, err error) {
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
