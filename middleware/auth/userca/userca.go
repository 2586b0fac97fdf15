// Package userca authorizes users who hold an OpenSSH user certificate (PROTOCOL.certkeys) of a trusted authority.
//
// The authorities' file holds public keys as ssh-keygen writes them, one a line, without options. Each authority can issue
// a certificate for any user:
//
//	ssh-keygen -s ca -I "ada's laptop" -z 17 -n ada -V +8h id_ed25519.pub
//
// The user name must be one of the principals; a certificate without principals is valid for nobody. The current time must
// be in the validity interval. Of the critical options, source-address is honoured; a certificate with any other one, such
// as force-command or verify-required, is refused. Of the extensions, those of package keyfile (permit-pty, …) are what the
// login may do. Unknown extensions have no effect. A certificate with no-touch-required is refused, because a security key
// has to be touched.
//
// The keys of the authority and of the user must be strong (keyfile.Strong), and the signature of the authority must not
// use SHA-1. A certificate for the key of an authority is refused: it signs, and does not log in.
//
// # Revocation
//
// The revocation list is a text file:
//
//	# lost in Lisbon
//	id: ada's laptop
//	serial: 17
//	serial: 18 SHA256:8NfA4fRZTyG2v4rZb5NFvOVQOS3GsQvmCsEfi0aWb2Q
//	SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDBNMhD/aNFhoRG4qs
//
// A line revokes certificates by key id, which is the rest of the line; by serial number, of any authority or of the one
// with that fingerprint; or by the fingerprint of the certified key or of the authority, as ssh-keygen -lf shows it.
// Serial 0 is an error, because every certificate without a serial number has it.
//
// # Fail closed
//
// Both files must be regular files of at most 1 MiB that only root and the running user can change. They are read again when
// they change. If a new version has an invalid line, or is missing, Warn receives the error. Of the authorities the last
// good version stays in use; without a good revocation list every certificate is refused, as with sshd's RevokedKeys. Warn
// is also told if a new revocation list lacks entries of the last one. To trust nobody, empty the authorities' file. Unix
// only.
package userca

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/source"
	"foyer/middleware/watchfile"
)

// Options configure [Authorities].
type Options struct {
	// Revoked is the path of the revocation list. If it is empty, nothing is revoked.
	Revoked string

	// Warn receives, as a [*watchfile.Error], what is wrong with each version of a file, and what follows from it, once.
	// Authorize calls it, possibly concurrently. It may be nil.
	Warn func(error)
}

// Authorities are the keys that sign certificates, and the certificates that are revoked. They stay up to date and are
// safe for concurrent use.
type Authorities struct {
	trusted *watchfile.Watched[authorities]
	revoked *watchfile.Watched[revocations] // nil without a list
}

// Open reads the authorities' file at path and the revocation list. Its error is a [*watchfile.Error].
func Open(path string, opts Options) (*Authorities, error) {
	if opts.Warn == nil {
		opts.Warn = func(error) {}
	}
	trusted, err := watchfile.Watch(path, keyfile.MaxFile, parseAuthorities, func(err error) {
		opts.Warn(followed(err, "the last good version stays in use"))
	})
	if err != nil {
		return nil, err
	}
	a := &Authorities{trusted: trusted}
	if opts.Revoked != "" {
		a.revoked, err = watchfile.Watch(opts.Revoked, keyfile.MaxFile, compareRevocations(opts.Warn), func(err error) {
			opts.Warn(followed(err, "every certificate is refused"))
		})
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// followed returns the error of a file with its consequence.
func followed(err error, consequence string) error {
	problem, ok := errors.AsType[*watchfile.Error](err)
	if !ok {
		return err
	}
	return &watchfile.Error{Path: problem.Path, Line: problem.Line, Err: fmt.Errorf("%w; %s", problem.Err, consequence), Fix: problem.Fix}
}

// Keys returns the fingerprints of the authorities in the order of the file.
func (a *Authorities) Keys() []string {
	var fingerprints []string
	for _, key := range a.trusted.Current() {
		fingerprints = append(fingerprints, gossh.FingerprintSHA256(key))
	}
	return fingerprints
}

// Authorize returns the permissions of a user who logs in from remote with a certificate, or the reason why it is refused.
// For a key without a certificate the error is [errors.ErrUnsupported].
func (a *Authorities) Authorize(user string, remote net.Addr, key gossh.PublicKey) (*gossh.Permissions, error) {
	cert, ok := key.(*gossh.Certificate)
	if !ok {
		return nil, errNoCertificate
	}
	for _, check := range []error{
		a.trusted.Current().check(cert),
		checkUser(cert, user),
		checkExtensions(cert),
		checkAddress(cert, source.Addr(remote)),
	} {
		if check != nil {
			return nil, check
		}
	}
	if a.revoked != nil {
		switch list, err := a.revoked.Latest(); {
		case err != nil:
			return nil, errNoList
		case list.revoke(cert):
			return nil, errRevoked
		}
	}
	// CheckCert checks the validity interval, the critical options, the principal again and, last, the signature.
	checker := gossh.CertChecker{SupportedCriticalOptions: []string{sourceAddress}}
	if err := checker.CheckCert(user, cert); err != nil {
		return nil, err
	}
	return permissions(cert), nil
}

var (
	errNoCertificate = fmt.Errorf("a key is not a certificate: %w", errors.ErrUnsupported)
	errRevoked       = errors.New("the certificate is revoked")
	errNoList        = errors.New("the revocation list cannot be used, so every certificate is refused")
)

// authorities are the keys in the authorities' file.
type authorities []gossh.PublicKey

// check returns an error if cert does not name a trusted authority, or if its keys or algorithms are not acceptable. It does
// not verify the signature, which is expensive and not worthwhile for an unknown authority.
func (a authorities) check(cert *gossh.Certificate) error {
	switch {
	case !a.contain(cert.SignatureKey):
		return errors.New("the authority of the certificate is unknown")
	case a.contain(cert.Key):
		return errors.New("the certificate is for the key of an authority")
	case !modern(cert.Signature.Format):
		return errors.New("the certificate is signed with SHA-1 or a weaker hash")
	}
	return keyfile.Strong(cert.Key)
}

func (a authorities) contain(key gossh.PublicKey) bool {
	blob := string(key.Marshal())
	return slices.ContainsFunc(a, func(known gossh.PublicKey) bool { return string(known.Marshal()) == blob })
}

// modern reports whether a signature format is secure. ssh-rsa is not: it uses SHA-1.
func modern(format string) bool {
	return slices.Contains(gossh.SupportedAlgorithms().PublicKeyAuths, format)
}

// checkUser returns an error if cert is not valid for the user.
func checkUser(cert *gossh.Certificate, user string) error {
	switch {
	case cert.CertType != gossh.UserCert:
		return errors.New("the certificate is not a user certificate")
	case len(cert.ValidPrincipals) == 0:
		return errors.New("the certificate names no principal")
	case user == "" || !slices.Contains(cert.ValidPrincipals, user):
		return errors.New("the user is not a principal of the certificate")
	}
	return nil
}

// checkExtensions returns an error for no-touch-required, which x/crypto would honour.
func checkExtensions(cert *gossh.Certificate) error {
	if _, ok := cert.Extensions[keyfile.NoTouchRequired]; ok {
		return errors.New("the certificate has no-touch-required, and a security key has to be touched")
	}
	return nil
}

const sourceAddress = "source-address"

// checkAddress returns an error if cert is not valid from that address. As in OpenSSH (addrmatch.c, addr_match_cidr_list),
// the list has only addresses and networks, and a list with an invalid entry matches nothing.
func checkAddress(cert *gossh.Certificate, from netip.Addr) error {
	list, restricted := cert.CriticalOptions[sourceAddress]
	if !restricted {
		return nil
	}
	found := false
	for text := range strings.SplitSeq(list, ",") {
		network, err := keyfile.Network(text)
		if err != nil {
			return fmt.Errorf("invalid source-address in the certificate: %w", err)
		}
		found = found || network.Contains(from)
	}
	if !found {
		return errors.New("the certificate is not valid from this address")
	}
	return nil
}

// permissions returns what cert permits, and its source-address, which x/crypto checks again.
func permissions(cert *gossh.Certificate) *gossh.Permissions {
	granted := &gossh.Permissions{CriticalOptions: map[string]string{}, Extensions: map[string]string{}}
	if list, restricted := cert.CriticalOptions[sourceAddress]; restricted {
		granted.CriticalOptions[sourceAddress] = list
	}
	for _, permit := range keyfile.Permits() {
		if _, ok := cert.Extensions[permit]; ok {
			granted.Extensions[permit] = ""
		}
	}
	return granted
}
