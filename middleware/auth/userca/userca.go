// Package userca lets in who holds an OpenSSH user certificate (PROTOCOL.certkeys) of a trusted authority.
//
// Authorities are public keys in a file, one a line and without options, as ssh-keygen writes them. Each of them can
// make a certificate for any user:
//
//	ssh-keygen -s ca -I "ada's laptop" -z 17 -n ada -V +8h id_ed25519.pub
//
// The user must be among the certificate's principals, to the letter; a certificate for no principal in particular is
// nobody's. Its time must have come and not be over. Of the critical options, source-address is honoured, and any other,
// force-command and verify-required among them, refuses the certificate. Of the extensions, those of package keyfile
// (permit-pty, …) are what the login may do; unknown ones mean nothing, and no-touch-required refuses the certificate: a
// security key has to be touched.
//
// Authority and certified key must both be strong (keyfile.Strong), the authority's signature must not be of SHA-1, and
// the key of an authority cannot be certified: it signs, and does not log in.
//
// # Revocation
//
// What is in the revocation list is refused. It is a text file:
//
//	# lost in Lisbon
//	id: ada's laptop
//	serial: 17
//	serial: 18 SHA256:8NfA4fRZTyG2v4rZb5NFvOVQOS3GsQvmCsEfi0aWb2Q
//	SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDBNMhD/aNFhoRG4qs
//
// The lines revoke by key id, which is the rest of the line; by serial number, of every authority or of the one with
// that fingerprint; and by fingerprint, as ssh-keygen -lf shows it, of a certified key or of an authority. Serial 0 is
// every certificate that was made without one, and is an error.
//
// # What fails closed
//
// Both files are read again when they change, and must be readable to start with: regular files of at most 1 MiB that
// only their owner can write. A later version with a bad line, or none at all, changes nothing: the last good one stays
// in use, and Warn hears of it. To trust nobody, empty the authorities' file. Unix only.
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
)

// Options are settled when the files are opened.
type Options struct {
	// Revoked is the path of the revocation list. Empty: nothing is revoked.
	Revoked string

	// Warn is told, once each, of a new version of a file that is broken, unreadable or gone, and therefore not used;
	// each is a [*files.Error]. It is called from Authorize, by whichever goroutine came first. Nil: silence.
	Warn func(error)
}

// Authorities are the keys that sign users' certificates, and what has been revoked of them. They stay up to date, and
// are safe for concurrent use.
type Authorities struct {
	trusted *watched[authorities]
	revoked *watched[revocations] // nil without a list
}

// Open reads the authorities' file at path, and the revocation list. Its error is a [*files.Error].
func Open(path string, opts Options) (*Authorities, error) {
	if opts.Warn == nil {
		opts.Warn = func(error) {}
	}
	trusted, err := watch(path, parseAuthorities, opts.Warn)
	if err != nil {
		return nil, err
	}
	a := &Authorities{trusted: trusted}
	if opts.Revoked != "" {
		if a.revoked, err = watch(opts.Revoked, parseRevocations, opts.Warn); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Keys lists the fingerprints of the authorities in the order of the file.
func (a *Authorities) Keys() []string {
	var fingerprints []string
	for _, key := range a.trusted.current() {
		fingerprints = append(fingerprints, gossh.FingerprintSHA256(key))
	}
	return fingerprints
}

// Authorize returns what the user may do who comes from remote and holds the key of a certificate, or why it does not
// let them in. A key without a certificate never does; its error is [errors.ErrUnsupported].
func (a *Authorities) Authorize(user string, remote net.Addr, key gossh.PublicKey) (*gossh.Permissions, error) {
	cert, ok := key.(*gossh.Certificate)
	if !ok {
		return nil, errNoCertificate
	}
	trusted := a.trusted.current()
	for _, check := range []error{
		trusted.check(cert),
		checkUser(cert, user),
		checkExtensions(cert),
		checkAddress(cert, source.Addr(remote)),
	} {
		if check != nil {
			return nil, check
		}
	}
	if a.revoked != nil && a.revoked.current().revoke(cert) {
		return nil, errRevoked
	}
	// The rest, and the principal once more: validity, critical options, and the signature last.
	checker := gossh.CertChecker{SupportedCriticalOptions: []string{sourceAddress}}
	if err := checker.CheckCert(user, cert); err != nil {
		return nil, err
	}
	return permissions(cert), nil
}

var (
	errNoCertificate = fmt.Errorf("a key is not a certificate: %w", errors.ErrUnsupported)
	errRevoked       = errors.New("the certificate is revoked")
)

// authorities are the keys in the authorities' file.
type authorities []gossh.PublicKey

// check returns why cert was not made by an authority, or not in the way that it should have been. It does not verify
// the signature, which is dear: a stranger's certificate is not worth it.
func (a authorities) check(cert *gossh.Certificate) error {
	switch {
	case !a.contain(cert.SignatureKey):
		return errors.New("the certificate is of an unknown authority")
	case a.contain(cert.Key):
		return errors.New("the certificate is for the key of an authority")
	case !modern(cert.Signature.Format):
		return errors.New("the certificate is signed with SHA-1 or worse")
	}
	return keyfile.Strong(cert.Key)
}

func (a authorities) contain(key gossh.PublicKey) bool {
	blob := string(key.Marshal())
	return slices.ContainsFunc(a, func(known gossh.PublicKey) bool { return string(known.Marshal()) == blob })
}

// modern reports whether a signature of that format is good enough; ssh-rsa is SHA-1.
func modern(format string) bool {
	return slices.Contains(gossh.SupportedAlgorithms().PublicKeyAuths, format)
}

// checkUser returns why cert is not the user's.
func checkUser(cert *gossh.Certificate, user string) error {
	switch {
	case cert.CertType != gossh.UserCert:
		return errors.New("the certificate is not a user's")
	case len(cert.ValidPrincipals) == 0:
		return errors.New("the certificate names no principal")
	case user == "" || !slices.Contains(cert.ValidPrincipals, user):
		return errors.New("the user is not a principal of the certificate")
	}
	return nil
}

// checkExtensions returns an error for the one extension that would loosen something: x/crypto honours it.
func checkExtensions(cert *gossh.Certificate) error {
	if _, ok := cert.Extensions[keyfile.NoTouchRequired]; ok {
		return errors.New("the certificate does without a touch of its security key")
	}
	return nil
}

const sourceAddress = "source-address"

// checkAddress returns why cert is not for that address. As in OpenSSH (addrmatch.c, addr_match_cidr_list), the list
// has addresses and networks only, and an error in it refuses all.
func checkAddress(cert *gossh.Certificate, from netip.Addr) error {
	list, restricted := cert.CriticalOptions[sourceAddress]
	if !restricted {
		return nil
	}
	found := false
	for text := range strings.SplitSeq(list, ",") {
		network, err := keyfile.Network(text)
		if err != nil {
			return fmt.Errorf("the certificate's source-address cannot be used: %w", err)
		}
		found = found || network.Contains(from)
	}
	if !found {
		return errors.New("the certificate is not for this address")
	}
	return nil
}

// permissions returns what cert permits, and its source-address, which x/crypto then checks again.
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
