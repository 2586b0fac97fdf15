package hostkeys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/watchfile"
)

const certificateSuffix = "-cert.pub"

// certify reads the certificate beside the key, if there is one. The key is not changed if it cannot be used.
func (k *Key) certify() {
	path := k.Path + certificateSuffix
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return
	}
	data, err := watchfile.ReadFile(path, maxSize, watchfile.OthersWrite)
	if err == nil {
		k.Certificate, err = certificate([]byte(data), k.Signer)
	}
	if err != nil {
		k.Problem = newError(path, err)
		if k.Problem.Fix == "" {
			k.Problem.Fix = "run: ssh-keygen -h -s CA -I NAME -n HOST " + watchfile.Quote(k.Path)
		}
	}
}

// certificate returns the key with the certificate in data, if clients that trust its authority accept it now. They also
// check the name of the host. Newer ones refuse a certificate without a name, so it is an error here.
func certificate(data []byte, key gossh.Signer) (gossh.Signer, error) {
	public, _, _, _, err := gossh.ParseAuthorizedKey(data)
	cert, ok := public.(*gossh.Certificate)
	switch {
	case err != nil || !ok:
		return nil, errors.New("is not a certificate")
	case cert.CertType != gossh.HostCert:
		return nil, errors.New("is a user certificate, and a server needs a host certificate")
	case !bytes.Equal(cert.Key.Marshal(), key.PublicKey().Marshal()):
		return nil, errors.New("is the certificate of another key")
	case len(cert.ValidPrincipals) == 0:
		return nil, errors.New("is a certificate without a host name")
	}
	if err := new(gossh.CertChecker).CheckCert(cert.ValidPrincipals[0], cert); err != nil {
		return nil, fmt.Errorf("is not valid: %w", err)
	}
	return gossh.NewCertSigner(cert, key)
}
