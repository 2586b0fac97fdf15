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
	return Layer{
		Name: "publickey",
		Server: func(srv *ssh.Server) error {
			if len(sources) == 0 || slices.Contains(sources, nil) {
				return errors.New("nothing to check keys with")
			}
			if err := noOtherKeys(srv); err != nil {
				return err
			}
			before := srv.PtyCallback
			srv.PtyCallback = func(ctx ssh.Context, pty ssh.Pty) bool {
				return (before == nil || before(ctx, pty)) && permitsPTY(ctx.Permissions())
			}
			algorithms := gossh.SupportedAlgorithms().PublicKeyAuths // SHA-1 is not among them
			return Hooks{Configure: func(ctx ssh.Context, cfg *gossh.ServerConfig) {
				door := keyDoor{ctx, sources}
				cfg.PublicKeyCallback = door.shown
				cfg.VerifiedPublicKeyCallback = door.proven
				cfg.PublicKeyAuthAlgorithms = algorithms
			}}.Add(srv)
		},
	}
}

// noOtherKeys returns an error when another layer has decided on keys: the library knows one answer only.
func noOtherKeys(srv *ssh.Server) error {
	cfg := config(srv)
	if decided(cfg) {
		return errDecided
	}
	if srv.PublicKeyHandler != nil || cfg.PublicKeyCallback != nil || cfg.VerifiedPublicKeyCallback != nil {
		return errors.New("another layer checks keys already")
	}
	if cfg.PublicKeyAuthAlgorithms != nil {
		return errors.New("another layer decides on the algorithms of keys already")
	}
	return nil
}

// permitsPTY reports whether a login may have a PTY: of those with a key, the ones that their key permits it.
func permitsPTY(granted *ssh.Permissions) bool {
	if granted == nil || granted.Permissions == nil {
		return true
	}
	_, withKey := granted.Extensions[KeyFingerprint]
	_, permitted := granted.Extensions[keyfile.PermitPTY]
	return permitted || !withKey
}

// keyDoor answers for the keys of one connection. It remembers nothing, and uses ctx for its logger only.
type keyDoor struct {
	ctx     ssh.Context
	sources []KeySource
}

// shown answers the question whether a key would do. Nothing of the answer is an identity.
func (d keyDoor) shown(conn gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
	granted, err := d.authorize(conn, key)
	if err != nil {
		return nil, err
	}
	// No extensions: the one that does without a touch would be looked for here. The addresses are checked at once.
	return &gossh.Permissions{CriticalOptions: maps.Clone(granted.CriticalOptions)}, nil
}

// proven lets in, or not, the user of an attempt who has proven to hold key. What was learnt when the key was shown is
// not used: between the two, the key may have been taken from the user.
func (d keyDoor) proven(conn gossh.ConnMetadata, key gossh.PublicKey, _ *gossh.Permissions, _ string) (*gossh.Permissions, error) {
	granted, err := d.authorize(conn, key)
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
			sanitize.String(cert.KeyId, shownText), cert.Serial, gossh.FingerprintSHA256(cert.SignatureKey))
	}
	extensions[provenKey] = base64.StdEncoding.EncodeToString(key.Marshal())
	return &gossh.Permissions{CriticalOptions: maps.Clone(granted.CriticalOptions), Extensions: extensions}, nil
}

// errNoKey says no more than that: whether the user exists is nobody's business.
var errNoKey = errors.New("key not authorized")

// authorize asks the sources. The error is that of the first one whose kind of key it is.
func (d keyDoor) authorize(conn gossh.ConnMetadata, key gossh.PublicKey) (granted *gossh.Permissions, err error) {
	defer rescueAttempt(d.ctx, &err)
	if len(conn.User()) > maxUser {
		return nil, errNoKey
	}
	refusal := errNoKey
	for _, source := range d.sources {
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
