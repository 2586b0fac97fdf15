package middleware

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// The requests of OpenSSH's PROTOCOL, section 2.5.
const (
	announceHostKeys = "hostkeys-00@openssh.com"
	proveHostKeys    = "hostkeys-prove-00@openssh.com"
)

// HostKeyUpdate returns the layer that announces all host keys to each client and proves that the server has them. A client
// with UpdateHostKeys, which OpenSSH's has by default, then adds keys that it does not know to its known_hosts, and removes
// those that the server no longer has. So a host key can be replaced without a warning.
//
// The announcement leaves with the message that the client is authenticated, and costs no write of its own. It is sent also
// when there is one key: otherwise a client would never remove a key. A client may ask for proofs once, of no more keys than
// were announced. A session does not end while the server signs, because ssh leaves with its last session. A client whose
// question is read too late asks again on its next visit.
func HostKeyUpdate() Layer {
	return Layer{
		Name: "hostkeyupdate",
		Server: func(srv *ssh.Server) error {
			if srv.IdleTimeout > 0 {
				return errors.New("the server has an idle timeout, which the layer deadlines should have")
			}
			srv.RequestHandlers[proveHostKeys] = func(ctx ssh.Context, _ *ssh.Server, req *gossh.Request) (bool, []byte) {
				return ctx.Value(announcementKey{}).(*announcement).answer(req), nil
			}
			return nil
		},
		Connect: func(c *Conn) (Moments, error) {
			a := &announcement{conn: c}
			c.Context().SetValue(announcementKey{}, a)
			return Moments{Established: a.send}, nil
		},
		Session: func(next ssh.Handler) ssh.Handler {
			return func(sess ssh.Session) {
				a := sess.Context().Value(announcementKey{}).(*announcement)
				a.wait()
				next(sess)
				a.wait()
			}
		},
	}
}

// announcement is what a client was told of the host keys.
type announcement struct {
	conn *Conn

	mu     sync.Mutex   // held while the server signs
	keys   []ssh.Signer // that the client may ask about; nil after it has
	client gossh.Conn
}

type announcementKey struct{}

// wait returns when the server does not sign.
func (a *announcement) wait() {
	a.mu.Lock()
	defer a.mu.Unlock()
}

// send announces the host keys.
func (a *announcement) send(client gossh.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.client = client
	var list []byte
	for _, key := range a.conn.hostKeys {
		_, certificate := key.PublicKey().(*gossh.Certificate)
		blob := string(key.PublicKey().Marshal())
		if certificate || a.find(blob) != nil {
			continue
		}
		a.keys = append(a.keys, key)
		list = append(list, gossh.Marshal(struct{ Blob string }{blob})...)
	}
	_, _, _ = client.SendRequest(announceHostKeys, false, list) // a client that is gone needs no keys
}

// find returns the announced key with that public key, or nil.
func (a *announcement) find(blob string) ssh.Signer {
	i := slices.IndexFunc(a.keys, func(key ssh.Signer) bool { return string(key.PublicKey().Marshal()) == blob })
	if i < 0 {
		return nil
	}
	return a.keys[i]
}

// answer answers a request for proofs. It reports false if the request is refused, which the caller then answers.
func (a *announcement) answer(req *gossh.Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys := a.asked(req.Payload)
	if len(keys) == 0 || !req.WantReply || a.conn.Computing(true) != nil {
		return false
	}
	defer func() { _ = a.conn.Computing(false) }()
	a.keys = nil
	proofs, err := a.prove(keys)
	if err != nil {
		return false
	}
	_ = req.Reply(true, proofs) // here, so that it is sent before a session that waits goes on
	req.WantReply = false
	return true
}

// asked returns the keys that a request asks about, or none if it asks about others or about too many.
func (a *announcement) asked(payload []byte) (keys []ssh.Signer) {
	for len(payload) > 0 {
		var next struct {
			Blob string
			Rest []byte `ssh:"rest"`
		}
		if gossh.Unmarshal(payload, &next) != nil {
			return nil
		}
		key := a.find(next.Blob)
		if key == nil || len(keys) == len(a.keys) {
			return nil
		}
		keys, payload = append(keys, key), next.Rest
	}
	return keys
}

// prove returns a signature for each key.
func (a *announcement) prove(keys []ssh.Signer) (proofs []byte, err error) {
	for _, key := range keys {
		signer, ok := key.(gossh.AlgorithmSigner)
		if !ok {
			return nil, errors.New("host key cannot choose its algorithm")
		}
		data := gossh.Marshal(struct{ Request, Session, Blob string }{
			proveHostKeys, string(a.client.SessionID()), string(key.PublicKey().Marshal()),
		})
		signature, err := signer.SignWithAlgorithm(rand.Reader, data, a.algorithm(key.PublicKey().Type()))
		if err != nil {
			return nil, err
		}
		proofs = append(proofs, gossh.Marshal(struct{ Signature []byte }{gossh.Marshal(signature)})...)
	}
	return proofs, nil
}

// algorithm returns the algorithm with which a key signs. As with sshd (server_input_hostkeys_prove), an RSA key takes that
// of the key exchange if its host key was RSA too. Otherwise it takes SHA-512, which OpenSSH verifies since 7.2.
func (a *announcement) algorithm(keyType string) string {
	if keyType != gossh.KeyAlgoRSA {
		return keyType
	}
	if exchanged, ok := a.client.(gossh.AlgorithmsConnMetadata); ok {
		used := strings.TrimSuffix(exchanged.Algorithms().HostKey, "-cert-v01@openssh.com")
		if slices.Contains([]string{gossh.KeyAlgoRSASHA256, gossh.KeyAlgoRSA}, used) {
			return used
		}
	}
	return gossh.KeyAlgoRSASHA512
}
