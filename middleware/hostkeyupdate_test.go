package middleware_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"slices"
	"strings"
	"testing"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/sshtest"
)

const (
	announced      = "hostkeys-00@openssh.com"
	prove          = "hostkeys-prove-00@openssh.com"
	requestSuccess = 81
	requestFailure = 82
)

// serveHostKeys serves these host keys.
func serveHostKeys(t *testing.T, keys middleware.HostKeys) *sshtest.Server {
	t.Helper()
	return sshtest.Start(t, func(srv *ssh.Server) error {
		stack := middleware.NewStack(
			middleware.Algorithms("default"), middleware.Open(), middleware.HostKeyUpdate(), middleware.Message(middleware.Fixed("hi\n")))
		stack.HostKeys = func() middleware.HostKeys { return keys }
		return stack.Install(srv)
	})
}

// keyClient is a client that learns host keys.
type keyClient struct {
	gossh.Conn
	announcements chan []byte
}

func dialKeys(t *testing.T, srv *sshtest.Server, algorithms ...string) *keyClient {
	t.Helper()
	conn, channels, requests, err := gossh.NewClientConn(srv.DialTCP(t), "", &gossh.ClientConfig{
		HostKeyCallback: gossh.InsecureIgnoreHostKey(), HostKeyAlgorithms: algorithms,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &keyClient{conn, make(chan []byte, 2)}
	go func() {
		for range channels {
		}
	}()
	go func() {
		defer close(c.announcements)
		for request := range requests {
			if request.Type == announced && !request.WantReply {
				c.announcements <- request.Payload
			}
		}
	}()
	return c
}

// ask asks for proofs of these host keys, and returns nil where it is refused.
func (c *keyClient) ask(t *testing.T, payload []byte) []byte {
	t.Helper()
	granted, reply, err := c.SendRequest(prove, true, payload)
	if err != nil {
		t.Fatal(err)
	}
	if !granted && len(reply) > 0 {
		t.Errorf("refused with %q", reply)
	}
	if granted {
		return reply
	}
	return nil
}

func blobs(keys ...gossh.Signer) (list []byte) {
	for _, key := range keys {
		list = append(list, sshtest.Fields(string(key.PublicKey().Marshal()))...)
	}
	return list
}

// proven checks that reply holds a signature of each key, and returns their algorithms.
func (c *keyClient) proven(t *testing.T, reply []byte, keys ...gossh.Signer) (algorithms []string) {
	t.Helper()
	for _, key := range keys {
		var next struct {
			Signature []byte
			Rest      []byte `ssh:"rest"`
		}
		var signature gossh.Signature
		if err := gossh.Unmarshal(reply, &next); err != nil {
			t.Fatal(err)
		}
		if err := gossh.Unmarshal(next.Signature, &signature); err != nil {
			t.Fatal(err)
		}
		data := sshtest.Fields(prove, string(c.SessionID()), string(key.PublicKey().Marshal()))
		if err := key.PublicKey().Verify(data, &signature); err != nil {
			t.Error(err)
		}
		algorithms, reply = append(algorithms, signature.Format), next.Rest
	}
	if len(reply) > 0 {
		t.Errorf("%d bytes follow the signatures", len(reply))
	}
	return algorithms
}

// The keys in use come first, each once, and keys that the algorithms leave out as well as certificates do not.
func TestHostKeyUpdate(t *testing.T) {
	used, next := sshtest.HostKey(t), sshtest.HostKey(t)
	srv := serveHostKeys(t, middleware.HostKeys{Used: []ssh.Signer{used, certifyHost(t, used)}, Other: []ssh.Signer{next, used}})
	c := dialKeys(t, srv, gossh.KeyAlgoED25519)
	if got := sshtest.Receive(t, c.announcements); !bytes.Equal(got, blobs(used, next)) {
		t.Errorf("announced %q", got)
	}
	c.proven(t, c.ask(t, blobs(next, used)), next, used)
	if got := c.ask(t, blobs(next)); got != nil {
		t.Error("proofs were given again")
	}
	_ = c.Close()
	if got, more := <-c.announcements; more {
		t.Errorf("announced again: %q", got)
	}
}

func certifyHost(t *testing.T, key gossh.Signer) gossh.Signer {
	t.Helper()
	cert := &gossh.Certificate{Key: key.PublicKey(), CertType: gossh.HostCert, ValidPrincipals: []string{"a"}, ValidBefore: gossh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, sshtest.HostKey(t)); err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// An RSA key signs with the algorithm of the key exchange if that has an RSA key (sshd's server_input_hostkeys_prove).
func TestHostKeyUpdateRSA(t *testing.T) {
	used, next, ed25519 := newRSA(t), newRSA(t), sshtest.HostKey(t)
	srv := serveHostKeys(t, middleware.HostKeys{Used: []ssh.Signer{used, certifyHost(t, used), ed25519}, Other: []ssh.Signer{next}})
	for exchange, want := range map[string]string{
		gossh.KeyAlgoRSASHA256:     gossh.KeyAlgoRSASHA256,
		gossh.KeyAlgoRSASHA512:     gossh.KeyAlgoRSASHA512,
		gossh.CertAlgoRSASHA256v01: gossh.KeyAlgoRSASHA256,
		gossh.KeyAlgoED25519:       gossh.KeyAlgoRSASHA512,
		gossh.CertAlgoRSASHA512v01: gossh.KeyAlgoRSASHA512,
	} {
		c := dialKeys(t, srv, exchange)
		got := c.proven(t, c.ask(t, blobs(next, ed25519)), next, ed25519)
		if !slices.Equal(got, []string{want, gossh.KeyAlgoED25519}) {
			t.Errorf("with %s in the key exchange: %q", exchange, got)
		}
	}
}

// A request for anything but announced keys is refused, and the next one is not.
func TestHostKeyUpdateRefuses(t *testing.T) {
	used, next := sshtest.HostKey(t), sshtest.HostKey(t)
	srv := serveHostKeys(t, middleware.HostKeys{Used: []ssh.Signer{used}, Other: []ssh.Signer{next}})
	c := dialKeys(t, srv)
	for name, payload := range map[string][]byte{
		"nothing":          nil,
		"a stranger's key": blobs(next, sshtest.HostKey(t)),
		"too many":         blobs(next, used, next),
		"trailing garbage": append(blobs(next), 0),
		"half a key":       blobs(next)[:20],
		"a long length":    {0xff, 0xff, 0xff, 0xff},
		"empty keys":       make([]byte, 4096),
	} {
		if c.ask(t, payload) != nil {
			t.Errorf("%s: proven", name)
		}
	}
	if _, _, err := c.SendRequest(prove, false, blobs(next)); err != nil {
		t.Error(err)
	}
	c.proven(t, c.ask(t, blobs(next)), next)
}

// A client that is not authenticated gets no proof.
func TestHostKeyUpdateNeedsAuthentication(t *testing.T) {
	used := sshtest.HostKey(t)
	c := serveHostKeys(t, middleware.HostKeys{Used: []ssh.Signer{used}}).DialRaw(t)
	if err := c.Write(sshtest.Message(sshtest.MsgGlobalRequest, prove, true, blobs(used))); err != nil {
		t.Fatal(err)
	}
	if answer, err := c.Await(requestSuccess, requestFailure); err == nil {
		t.Errorf("the answer is %q", answer)
	}
}

// slowSigner is a key that takes its time.
type slowSigner struct {
	gossh.AlgorithmSigner
	began, proceed chan struct{}
}

func (s slowSigner) SignWithAlgorithm(random io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	close(s.began)
	<-s.proceed
	return s.AlgorithmSigner.SignWithAlgorithm(random, data, algorithm)
}

// ssh leaves with its last session, so the proof comes before the session's end.
func TestHostKeyUpdateBeforeTheEnd(t *testing.T) {
	next := slowSigner{sshtest.HostKey(t).(gossh.AlgorithmSigner), make(chan struct{}), make(chan struct{})}
	c := serveHostKeys(t, middleware.HostKeys{Used: []ssh.Signer{sshtest.HostKey(t)}, Other: []ssh.Signer{next}}).DialRaw(t)
	if in, err := c.Attempt("guest", "ssh-connection", "none", nil); !in || err != nil {
		t.Fatal(in, err)
	}
	step := func(message []byte, answers ...byte) byte {
		t.Helper()
		if err := c.Write(message); err != nil {
			t.Fatal(err)
		}
		answer, err := c.Await(answers...)
		if err != nil {
			t.Fatal(err)
		}
		return answer[0]
	}
	step(sshtest.OpenChannel("session", 0), sshtest.MsgChannelConfirmed)
	if err := c.Write(sshtest.Message(sshtest.MsgGlobalRequest, prove, true, blobs(next))); err != nil {
		t.Fatal(err)
	}
	sshtest.Receive(t, next.began)
	step(sshtest.Message(sshtest.MsgChannelRequest, uint32(0), "shell", true), sshtest.MsgChannelSuccess)
	close(next.proceed)
	if answer, err := c.Await(requestSuccess, sshtest.MsgChannelData, sshtest.MsgChannelClose); err != nil || answer[0] != requestSuccess {
		t.Errorf("the first answer is %d, %v", answer[0], err)
	}
}

// Each layer restricts what the ones before it have left, and an error is the first one's.
func TestAllowedHostKeys(t *testing.T) {
	only := func(name string, n int, err error) middleware.Layer {
		return middleware.Layer{Name: name, HostKeys: func(keys []ssh.Signer) ([]ssh.Signer, error) { return keys[:n], err }}
	}
	keys := []ssh.Signer{sshtest.HostKey(t), sshtest.HostKey(t), sshtest.HostKey(t)}
	if got, err := middleware.NewStack(only("a", 2, nil), middleware.Open(), only("b", 1, nil)).AllowedHostKeys(keys); err != nil || len(got) != 1 {
		t.Errorf("%d keys, %v", len(got), err)
	}
	if _, err := middleware.NewStack(only("a", 0, io.EOF), only("b", 0, io.ErrShortWrite)).AllowedHostKeys(keys); err != io.EOF {
		t.Errorf("error %v", err)
	}
	if _, err := middleware.NewStack(middleware.Algorithms("strict")).AllowedHostKeys(nil); err == nil {
		t.Error("no key is enough")
	}
}

// charm.land/ssh would say at any time that a handshake is over.
func TestHostKeyUpdateNeedsDeadlines(t *testing.T) {
	srv := &ssh.Server{IdleTimeout: 1}
	err := middleware.NewStack(middleware.Open(), middleware.HostKeyUpdate(), middleware.Message(middleware.Fixed(""))).Install(srv)
	if err == nil || !strings.Contains(err.Error(), "layer hostkeyupdate: the server has an idle timeout") {
		t.Errorf("error %v", err)
	}
}
