package middleware

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// Algorithms returns the layer that restricts the algorithms of the connection and of the host keys' signatures. set is
//
//   - "strict": algorithms that security audits accept. There is no SHA-1, no NIST curve, no finite-field Diffie-Hellman and
//     no encrypt-and-MAC. A NIST host key is not used.
//   - "default": the strict ones, then the others that OpenSSH has by default: NIST curves, also of a host key, and
//     encrypt-and-MAC with SHA-2. It serves current libraries without encrypt-then-MAC, such as libssh2.
//   - "compat": the default ones, then those that old clients need: OpenSSH since 5.3 (RHEL 6), JSch and their like. There is
//     no group1, CBC, 3DES, RC4 or DSA.
//
// A client without a common algorithm is disconnected. It shows its own error, such as "no matching key exchange method
// found", and the log has the server's.
//
// The client chooses: the first algorithm of its list that is also on the server's is used (RFC 4253 section 7.1). So
// a wider set does not weaken connections of modern clients, and the order of the server's lists does not matter. But compat
// can cost the server more CPU time: a client may request Diffie-Hellman with 2048 bits, which takes much longer than
// curve25519.
//
// Clients without ed25519 (OpenSSH before 6.5) also need an RSA host key: foyer hostkey add rsa. Add host keys to the
// server before the layers, because a key that is added later is not restricted. [PublicKey] restricts the users' keys.
func Algorithms(set string) Layer {
	offered, unknown := algorithmsOf(set)
	usable := func(keys []ssh.Signer) ([]ssh.Signer, error) {
		if unknown != nil {
			return nil, unknown
		}
		return restrict(keys, offered.HostKeys)
	}
	return Layer{
		Name:     "algorithms",
		HostKeys: usable,
		Server: func(srv *ssh.Server) (err error) {
			srv.HostSigners, err = usable(srv.HostSigners)
			return err
		},
		Connect: func(*Conn) (Moments, error) {
			return Moments{Configure: func(cfg *gossh.ServerConfig) {
				cfg.KeyExchanges, cfg.Ciphers, cfg.MACs = offered.KeyExchanges, offered.Ciphers, offered.MACs
			}}, nil
		},
	}
}

// AlgorithmSets are the sets, each a part of the next.
var AlgorithmSets = []string{"strict", "default", "compat"}

func algorithmsOf(set string) (gossh.Algorithms, error) {
	offered := strict()
	switch set {
	case "strict":
	case "default":
		offered = and(offered, likeOpenSSH())
	case "compat":
		offered = and(and(offered, likeOpenSSH()), old())
	default:
		return gossh.Algorithms{}, fmt.Errorf("unknown algorithms %q: use %s", set, strings.Join(AlgorithmSets, ", "))
	}
	return offered, nil
}

// and returns the algorithms of both, those of a first.
func and(a, b gossh.Algorithms) gossh.Algorithms {
	return gossh.Algorithms{
		KeyExchanges: slices.Concat(a.KeyExchanges, b.KeyExchanges),
		Ciphers:      slices.Concat(a.Ciphers, b.Ciphers),
		MACs:         slices.Concat(a.MACs, b.MACs),
		HostKeys:     slices.Concat(a.HostKeys, b.HostKeys),
	}
}

// strict returns algorithms that OpenSSH supports since 6.5 (2014) and Dropbear since 2020.79, and a newer key exchange.
// The library adds two names to the key exchanges: curve25519-sha256@libssh.org, the name of curve25519-sha256 before RFC
// 8731, and kex-strict-s-v00@openssh.com, the strict key exchange against Terrapin (CVE-2023-48795).
func strict() gossh.Algorithms {
	return gossh.Algorithms{
		KeyExchanges: []string{
			gossh.KeyExchangeMLKEM768X25519, // protects recorded traffic from future quantum computers
			gossh.KeyExchangeCurve25519,
		},
		Ciphers: []string{
			gossh.CipherChaCha20Poly1305,
			gossh.CipherAES128GCM, gossh.CipherAES256GCM,
			gossh.CipherAES128CTR, gossh.CipherAES192CTR, gossh.CipherAES256CTR, // for paramiko, which has no AEAD
		},
		MACs:     []string{gossh.HMACSHA256ETM, gossh.HMACSHA512ETM}, // only for AES-CTR
		HostKeys: []string{gossh.KeyAlgoED25519, gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256},
	}
}

// likeOpenSSH returns what OpenSSH offers in addition by default, without finite-field groups and SHA-1.
func likeOpenSSH() gossh.Algorithms {
	return gossh.Algorithms{
		KeyExchanges: []string{gossh.KeyExchangeECDHP256, gossh.KeyExchangeECDHP384, gossh.KeyExchangeECDHP521}, // FIPS 140
		MACs:         []string{gossh.HMACSHA256, gossh.HMACSHA512},                                              // libssh2, net-ssh, RHEL 6, Conch
		HostKeys:     []string{gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521},
	}
}

// old returns what only old clients need. Each line names them.
func old() gossh.Algorithms {
	return gossh.Algorithms{
		KeyExchanges: []string{
			// RFC 8268: clients without elliptic curves. Larger groups, such as those of group-exchange, would let any
			// client start a key exchange that takes a hundred times the CPU time of curve25519.
			gossh.KeyExchangeDH14SHA256,
			gossh.InsecureKeyExchangeDH14SHA1, // required by RFC 4253: devices, old libraries
		},
		MACs:     []string{gossh.HMACSHA1},   // OpenSSH before 5.9
		HostKeys: []string{gossh.KeyAlgoRSA}, // OpenSSH before 7.2: RSA signatures with SHA-1
	}
}

// restrict returns the keys that can sign with algorithms of the list, restricted to those algorithms.
func restrict(keys []ssh.Signer, algorithms []string) ([]ssh.Signer, error) {
	var usable []ssh.Signer
	for _, key := range keys {
		can := signsWith(key)
		may := slices.DeleteFunc(slices.Clone(can), func(a string) bool { return !slices.Contains(algorithms, a) })
		switch {
		case len(may) == 0:
		case len(may) == len(can):
			usable = append(usable, key)
		default: // RSA, which has several algorithms
			limited, err := gossh.NewSignerWithAlgorithms(key.(gossh.AlgorithmSigner), may)
			if err != nil {
				return nil, err
			}
			usable = append(usable, limited)
		}
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("no host keys: add them before the layers")
	case len(usable) == 0:
		return nil, noHostKeyError{keys}
	}
	return usable, nil
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

// noHostKeyError is the error if the algorithms exclude all host keys.
type noHostKeyError struct{ keys []ssh.Signer }

func (e noHostKeyError) Error() string {
	var types []string
	for _, key := range e.keys {
		types = append(types, key.PublicKey().Type())
	}
	return "the algorithms exclude every host key: " + strings.Join(types, ", ")
}

// Hint says how to fix it.
func (e noHostKeyError) Hint() string {
	return "run: foyer hostkey add ed25519, or use --algorithms default"
}
