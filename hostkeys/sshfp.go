package hostkeys

import (
	"crypto/sha256"
	"fmt"

	gossh "golang.org/x/crypto/ssh"
)

// SSHFP returns the DNS record of a host with this key, for a zone file: its SHA-256 fingerprint (RFC 4255, RFC 6594, RFC
// 7479). SHA-1 is left out.
func (k Key) SSHFP(owner string) string {
	const sha256Type = 2
	algorithm := 3 // ECDSA, with any curve
	switch k.Type() {
	case gossh.KeyAlgoRSA:
		algorithm = 1
	case gossh.KeyAlgoED25519:
		algorithm = 4
	}
	return fmt.Sprintf("%s IN SSHFP %d %d %x", owner, algorithm, sha256Type, sha256.Sum256(k.Signer.PublicKey().Marshal()))
}
