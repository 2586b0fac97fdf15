package main

import (
	"slices"
	"strings"

	"foyer/cmd/cli"

	gossh "golang.org/x/crypto/ssh"
)

// What OpenSSH 10 offers first is what most visitors of a server use, and the library would rather have others: of a
// server with several host keys it would choose a slow one.
var (
	usualHostKeys = []string{
		gossh.KeyAlgoED25519, gossh.KeyAlgoECDSA256, gossh.KeyAlgoECDSA384, gossh.KeyAlgoECDSA521,
		gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256,
	}
	usualCiphers = []string{
		gossh.CipherChaCha20Poly1305, gossh.CipherAES128GCM, gossh.CipherAES256GCM,
		gossh.CipherAES128CTR, gossh.CipherAES192CTR, gossh.CipherAES256CTR,
	}
)

// choose sets the algorithms, and refuses those that the library does not have.
func (s *settings) choose(d *door) error {
	known, weak := gossh.SupportedAlgorithms(), gossh.InsecureAlgorithms()
	for _, kind := range []struct {
		flag                string
		asked, usual, known []string
		to                  *[]string
	}{
		{"kex", s.kex, nil, append(known.KeyExchanges, weak.KeyExchanges...), &d.config.KeyExchanges},
		{"cipher", s.ciphers, usualCiphers, append(known.Ciphers, weak.Ciphers...), &d.config.Ciphers},
		{"hostkey-algorithm", s.hostKeys, usualHostKeys, append(known.HostKeys, weak.HostKeys...),
			&d.config.HostKeyAlgorithms},
	} {
		for _, name := range kind.asked {
			if !slices.Contains(kind.known, name) {
				return cli.Misuse("choose from "+strings.Join(kind.known, ", "), "--%s: there is no %q", kind.flag, name)
			}
		}
		if *kind.to = kind.asked; len(kind.asked) == 0 {
			*kind.to = kind.usual
		}
	}
	d.config.ClientVersion = "SSH-2.0-knock"
	d.config.User = d.target.user
	return nil
}
