package budgets

import (
	"fmt"
	"io"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
)

// Rand returns random as the source of randomness that the connection has to be configured with, so that its key
// exchanges are counted. x/crypto tells nobody of them, but each has one signature by a host key, which signs with what
// the connection was configured with.
func (c *Conn) Rand(random io.Reader) io.Reader { return entropy{random, c} }

type entropy struct {
	io.Reader
	conn *Conn
}

// countKeyExchange returns an error where the connection that random belongs to has had too many.
func countKeyExchange(random io.Reader) error {
	e, ok := random.(entropy)
	if !ok {
		return nil
	}
	if !e.conn.spend(&e.conn.keyExchanges, maxKeyExchanges, counters.KeyExchanges) {
		return errTooMuch
	}
	e.conn.signed()
	return nil
}

// HostKey returns key as one that counts what it signs. A key that does not say with which algorithms it signs is an
// error; those of [gossh.NewSignerFromKey] and [gossh.NewSignerFromSigner] do.
func HostKey(key gossh.Signer) (gossh.Signer, error) {
	multi, ok := key.(gossh.MultiAlgorithmSigner)
	if !ok {
		return nil, fmt.Errorf("host key %s does not say with which algorithms it signs", key.PublicKey().Type())
	}
	return hostKey{multi}, nil
}

type hostKey struct{ gossh.MultiAlgorithmSigner }

// Sign implements [gossh.Signer].
func (k hostKey) Sign(random io.Reader, data []byte) (*gossh.Signature, error) {
	if err := countKeyExchange(random); err != nil {
		return nil, err
	}
	return k.MultiAlgorithmSigner.Sign(random, data)
}

// SignWithAlgorithm implements [gossh.AlgorithmSigner].
func (k hostKey) SignWithAlgorithm(random io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	if err := countKeyExchange(random); err != nil {
		return nil, err
	}
	return k.MultiAlgorithmSigner.SignWithAlgorithm(random, data, algorithm)
}
