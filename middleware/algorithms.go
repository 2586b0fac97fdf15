package middleware

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// Algorithms returns the layer that says which algorithms the door speaks, and what its host keys sign with. set is
//
//   - "modern", what every client of today has and nothing that an audit would find fault with: no SHA-1, no NIST
//     curve, no Diffie-Hellman group, no MAC of the plain text. A NIST host key is not shown.
//   - "compat", modern and what those need who have none of it: clients back to OpenSSH 5.3 (RHEL 6), FIPS 140, and
//     libraries that never learnt encrypt-then-MAC, such as Twisted Conch. Never group1, CBC, 3DES, RC4 or DSA.
//
// Whoever has nothing of the set is hung up on, and reads in their own client's words what was missing: "no matching
// key exchange method found". The log has the same from our side.
//
// The client chooses: the first of its list that is on ours too is taken (RFC 4253, section 7.1). So a client that
// knows better gets no worse from compat, and the order of our lists decides nothing. What compat costs is work:
// a stranger may ask for Diffie-Hellman with 2048 bits, which is many times that of curve25519.
//
// Clients that never heard of ed25519 (OpenSSH before 6.5) need an RSA host key besides: foyer hostkey add rsa. Host
// keys are added to the server before the layers; one that comes later is not restricted. User keys are [PublicKey]'s
// business.
func Algorithms(set string) Layer {
	offered, unknown := algorithmsOf(set)
	return Layer{
		Name: "algorithms",
		Server: func(srv *ssh.Server) error {
			if unknown != nil {
				return unknown
			}
			keys, err := restrict(srv.HostSigners, offered.HostKeys)
			srv.HostSigners = keys
			return err
		},
		Connect: func(*Conn) (Moments, error) {
			return Moments{Configure: func(cfg *gossh.ServerConfig) {
				cfg.KeyExchanges, cfg.Ciphers, cfg.MACs = offered.KeyExchanges, offered.Ciphers, offered.MACs
			}}, nil
		},
	}
}

func algorithmsOf(set string) (gossh.Algorithms, error) {
	switch set {
	case "modern":
		return modern(), nil
	case "compat":
		return compat(), nil
	}
	return gossh.Algorithms{}, fmt.Errorf("unknown algorithms %q: there are modern and compat", set)
}

// modern is what OpenSSH has since 6.5 (2014) and Dropbear since 2020.79, and newer ones for as long as this lasts. The
// library adds two names to the key exchanges: curve25519-sha256@libssh.org, as curve25519-sha256 was called before
// RFC 8731, and kex-strict-s-v00@openssh.com, the strict key exchange against Terrapin (CVE-2023-48795).
func modern() gossh.Algorithms {
	return gossh.Algorithms{
		KeyExchanges: []string{
			gossh.KeyExchangeMLKEM768X25519, // what is recorded today stays secret from quantum computers
			gossh.KeyExchangeCurve25519,
		},
		Ciphers: []string{
			gossh.CipherChaCha20Poly1305,
			gossh.CipherAES128GCM, gossh.CipherAES256GCM,
			gossh.CipherAES128CTR, gossh.CipherAES192CTR, gossh.CipherAES256CTR, // for paramiko, which has no AEAD
		},
		MACs:     []string{gossh.HMACSHA256ETM, gossh.HMACSHA512ETM}, // for AES-CTR alone
		HostKeys: []string{gossh.KeyAlgoED25519, gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256},
	}
}

// compat is modern and what clients need that are older, or poorer. Each line says who.
func compat() gossh.Algorithms {
	set := modern()
	set.KeyExchanges = append(set.KeyExchanges,
		gossh.KeyExchangeECDHP256, gossh.KeyExchangeECDHP384, gossh.KeyExchangeECDHP521, // OpenSSH 5.7 to 6.4, FIPS 140
		// RFC 8268: clients without curves. Larger groups, group-exchange's among them, would let a stranger have a key
		// exchange made that costs the server a hundred times what curve25519 does.
		gossh.KeyExchangeDH14SHA256,
		gossh.InsecureKeyExchangeDH14SHA1, // the one that RFC 4253 asks of everybody: devices, old libraries
	)
	set.MACs = append(set.MACs,
		gossh.HMACSHA256, gossh.HMACSHA512, // OpenSSH 5.9 to 6.1, RHEL 6, Conch
		gossh.HMACSHA1, // OpenSSH before that
	)
	set.HostKeys = append(set.HostKeys,
		gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521, // OpenSSH 5.7 to 6.4, FIPS 140
		gossh.KeyAlgoRSA, // OpenSSH before 7.2: an RSA key's signature over SHA-1
	)
	return set
}

// restrict returns the keys that sign with algorithms of the list, and with no other. Nobody is told of those left
// out: a key that is not shown cannot be asked for.
func restrict(keys []ssh.Signer, algorithms []string) ([]ssh.Signer, error) {
	var shown []ssh.Signer
	for _, key := range keys {
		can := signsWith(key)
		may := slices.DeleteFunc(slices.Clone(can), func(a string) bool { return !slices.Contains(algorithms, a) })
		switch {
		case len(may) == 0:
		case len(may) == len(can):
			shown = append(shown, key)
		default: // RSA, whose signers know several algorithms
			limited, err := gossh.NewSignerWithAlgorithms(key.(gossh.AlgorithmSigner), may)
			if err != nil {
				return nil, err
			}
			shown = append(shown, limited)
		}
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("there is no host key yet: they are added before the layers")
	case len(shown) == 0:
		return nil, noHostKeyError{keys}
	}
	return shown, nil
}

// signsWith returns the algorithms that the library would let key sign with (see its Signer, AlgorithmSigner and
// MultiAlgorithmSigner). A certificate signs as its key does.
func signsWith(key ssh.Signer) []string {
	public := key.PublicKey()
	if cert, ok := public.(*gossh.Certificate); ok {
		public = cert.Key
	}
	switch key := key.(type) {
	case gossh.MultiAlgorithmSigner:
		return key.Algorithms()
	case gossh.AlgorithmSigner:
		if public.Type() == gossh.KeyAlgoRSA {
			return []string{gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSA}
		}
	}
	return []string{public.Type()}
}

// noHostKeyError is why a server does not start whose host keys its algorithms leave out.
type noHostKeyError struct{ keys []ssh.Signer }

func (e noHostKeyError) Error() string {
	var types []string
	for _, key := range e.keys {
		types = append(types, key.PublicKey().Type())
	}
	return "no host key is left: there is but " + strings.Join(types, ", ")
}

// Hint says what the operator can do about it.
func (e noHostKeyError) Hint() string {
	return "run: foyer hostkey add ed25519, or serve with --algorithms compat"
}
