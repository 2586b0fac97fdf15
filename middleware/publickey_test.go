package middleware_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/auth/authorizedkeys"
	"foyer/middleware/auth/userca"
	"foyer/middleware/sshtest"
)

// borrowed is a signer that shows one key and signs with another.
type borrowed struct {
	gossh.Signer
	shown gossh.PublicKey
}

func (b borrowed) PublicKey() gossh.PublicKey { return b.shown }

// sourceFunc is a key source.
type sourceFunc func(user string, key gossh.PublicKey) (*gossh.Permissions, error)

func (f sourceFunc) Authorize(user string, _ net.Addr, key gossh.PublicKey) (*gossh.Permissions, error) {
	return f(user, key)
}

// keyDir is a directory of authorized keys; lines are by user.
func keyDir(t *testing.T, lines map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for user, text := range lines {
		if err := os.WriteFile(filepath.Join(dir, user), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// authorizedLine returns a key as a line of a key file.
func authorizedLine(key gossh.Signer) string {
	return string(gossh.MarshalAuthorizedKey(key.PublicKey()))
}

// serveKeys serves handler to users with a key in dir, or with a certificate signed by ca.
func serveKeys(t *testing.T, handler middleware.Layer, dir string, ca gossh.Signer, before ...middleware.Layer) (*sshtest.Server, *sshtest.Log) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(path, []byte(authorizedLine(ca)), 0o600); err != nil {
		t.Fatal(err)
	}
	authorities, err := userca.Open(path, userca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := sshtest.NewLog()
	layers := append([]middleware.Layer{middleware.Logging(l.Events())}, before...)
	keys := authorizedkeys.Open(dir, authorizedkeys.Options{Warn: func(err error) { t.Errorf("warned: %v", err) }})
	return sshtest.Serve(t, append(append(layers, middleware.PublicKey(keys, authorities)), handler)...), l
}

// certify returns a signer with a certificate for the key, signed by ca.
func certify(t *testing.T, ca, key gossh.Signer, user string) gossh.Signer {
	t.Helper()
	cert := &gossh.Certificate{
		Key: key.PublicKey(), CertType: gossh.UserCert, KeyId: "id\nof " + user, Serial: 7,
		ValidPrincipals: []string{user}, ValidBefore: gossh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// dialKey connects with one key.
func dialKey(t *testing.T, srv *sshtest.Server, user string, key gossh.Signer) (*gossh.Client, error) {
	t.Helper()
	client, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
		User:            user,
		Auth:            []gossh.AuthMethod{gossh.PublicKeys(key)},
		HostKeyCallback: gossh.InsecureIgnoreHostKey(),
		Timeout:         sshtest.Patience,
	})
	if err == nil {
		t.Cleanup(func() { _ = client.Close() })
	}
	return client, err
}

// whose is a handler that writes the session's user and key.
func whose(sess ssh.Session) {
	extensions := sess.Permissions().Extensions
	_, _ = io.WriteString(sess, sess.User()+" "+extensions[middleware.KeyFingerprint]+" "+extensions[middleware.KeyCertificate])
	if key := sess.PublicKey(); key != nil {
		_, _ = io.WriteString(sess, " "+key.Type())
	}
}

func TestPublicKey(t *testing.T) {
	alice, mallory, both, ca := sshtest.HostKey(t), sshtest.HostKey(t), sshtest.HostKey(t), sshtest.HostKey(t)
	srv, _ := serveKeys(t, middleware.Handler("test", whose), keyDir(t, map[string]string{
		"alice":   authorizedLine(alice) + authorizedLine(both),
		"mallory": authorizedLine(mallory) + authorizedLine(both),
	}), ca)
	fingerprint := func(key gossh.Signer) string { return gossh.FingerprintSHA256(key.PublicKey()) }
	for _, tt := range []struct {
		name, user string
		key        gossh.Signer
		want       string // empty: not authenticated
	}{
		{"one's own key", "alice", alice, "alice " + fingerprint(alice) + "  ssh-ed25519"},
		{"another's key", "mallory", alice, ""},
		{"another's name", "alice", mallory, ""},
		{"a key of two users, as one", "alice", both, "alice " + fingerprint(both) + "  ssh-ed25519"},
		{"a key of two users, as the other", "mallory", both, "mallory " + fingerprint(both) + "  ssh-ed25519"},
		{"nobody's name", "nobody", alice, ""},
		{"no name", "", alice, ""},
		{"another case", "Alice", alice, ""},
		{"a path", "./alice", alice, ""},
		{"a name that is too long", strings.Repeat("a", 257), alice, ""},
		{"a certificate", "alice", certify(t, ca, mallory, "alice"), "alice " + fingerprint(mallory) +
			` id\nof alice serial 7 by ` + fingerprint(ca) + " ssh-ed25519-cert-v01@openssh.com"},
		{"a certificate for another", "mallory", certify(t, ca, mallory, "alice"), ""},
		{"a certificate of another authority, for a key that is authorized", "alice", certify(t, mallory, alice, "alice"), ""},
		{"the key that a certificate is for", "alice", mallory, ""},
		{"the authority's own key", "alice", ca, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, err := dialKey(t, srv, tt.user, tt.key)
			if in := err == nil; in != (tt.want != "") {
				t.Fatalf("Dial returned %v", err)
			}
			if err == nil {
				expect(t, sshtest.Run(t, client, sshtest.Visit{}), sshtest.Result{Stdout: tt.want})
			}
		})
	}
}

// A key that was queried gives no identity, whatever the client authenticates with afterwards (DESIGN.md, fact 3).
func TestPublicKeyShownIsNotProven(t *testing.T) {
	alice, mallory := sshtest.HostKey(t), sshtest.HostKey(t)
	served := make(chan string, 1)
	note := func(sess ssh.Session) {
		_, pty := sess.Permissions().Extensions["permit-pty"]
		served <- fmt.Sprint(sess.User(), " ", gossh.FingerprintSHA256(sess.PublicKey()), " ", pty)
	}
	dir := keyDir(t, map[string]string{"alice": authorizedLine(alice), "mallory": "no-pty " + authorizedLine(mallory)})
	srv, _ := serveKeys(t, middleware.Handler("test", note), dir, sshtest.HostKey(t))

	t.Run("a signature by another key", func(t *testing.T) {
		client := srv.DialRaw(t)
		if ok, err := client.Query("alice", alice.PublicKey()); !ok {
			t.Fatalf("the key is not accepted: %v", err)
		}
		if in, err := client.PublicKey("alice", borrowed{mallory, alice.PublicKey()}); in || err != io.EOF {
			t.Errorf("authenticated with alice's key and mallory's signature: %t, error: %v", in, err)
		}
	})
	t.Run("another key for the same user", func(t *testing.T) {
		client := srv.DialRaw(t)
		if ok, err := client.Query("alice", alice.PublicKey()); !ok {
			t.Fatalf("the key is not accepted: %v", err)
		}
		if in, err := client.PublicKey("alice", mallory); in || err != nil {
			t.Errorf("authenticated as alice with mallory's key: %t, error: %v", in, err)
		}
	})
	t.Run("another user", func(t *testing.T) {
		client := srv.DialRaw(t)
		if ok, err := client.Query("alice", alice.PublicKey()); !ok {
			t.Fatalf("the key is not accepted: %v", err)
		}
		if ok, err := client.Query("mallory", alice.PublicKey()); ok || err != nil {
			t.Errorf("alice's key is accepted for mallory: %t, error: %v", ok, err)
		}
		if in, err := client.PublicKey("mallory", mallory); !in {
			t.Fatalf("mallory is not authenticated: %v", err)
		}
		if err := client.Shell(); err != nil {
			t.Fatal(err)
		}
		want := "mallory " + gossh.FingerprintSHA256(mallory.PublicKey()) + " false"
		if got := sshtest.Receive(t, served); got != want {
			t.Errorf("served %q, want %q", got, want)
		}
	})
}

// A key that is removed after it was queried authenticates nobody.
func TestPublicKeyIsAskedForAgain(t *testing.T) {
	alice := sshtest.HostKey(t)
	dir := keyDir(t, map[string]string{"alice": authorizedLine(alice)})
	srv, l := serveKeys(t, middleware.Handler("test", whose), dir, sshtest.HostKey(t))
	client := srv.DialRaw(t)
	if ok, err := client.Query("alice", alice.PublicKey()); !ok {
		t.Fatalf("the key is not accepted: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "alice")); err != nil {
		t.Fatal(err)
	}
	if in, err := client.PublicKey("alice", alice); in || err != nil {
		t.Errorf("authenticated: %t, error: %v", in, err)
	}
	l.Line(t, "authentication failed", "method=publickey", "key not authorized")
}

// A certificate for an authorized key is not accepted as that key, and a key is not accepted for its certificate.
func TestPublicKeyKinds(t *testing.T) {
	ca, alice := sshtest.HostKey(t), sshtest.HostKey(t)
	cert := certify(t, ca, alice, "alice")
	only := func(source middleware.KeySource) *sshtest.Server {
		return sshtest.Serve(t, middleware.PublicKey(source), middleware.Handler("test", whose))
	}
	keys := only(authorizedkeys.Open(keyDir(t, map[string]string{"alice": authorizedLine(alice)}), authorizedkeys.Options{}))
	path := filepath.Join(keyDir(t, map[string]string{"ca": authorizedLine(ca)}), "ca")
	authorities, err := userca.Open(path, userca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	certs := only(authorities)
	for _, tt := range []struct {
		name string
		srv  *sshtest.Server
		key  gossh.Signer
		in   bool
	}{
		{"a key where keys are known", keys, alice, true},
		{"a certificate where keys are known", keys, cert, false},
		{"a certificate where authorities are", certs, cert, true},
		{"a key where authorities are", certs, alice, false},
	} {
		if _, err := dialKey(t, tt.srv, "alice", tt.key); (err == nil) != tt.in {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestPublicKeyPTY(t *testing.T) {
	free, bound, again, ca := sshtest.HostKey(t), sshtest.HostKey(t), sshtest.HostKey(t), sshtest.HostKey(t)
	dir := keyDir(t, map[string]string{
		"guest": authorizedLine(free) + "restrict " + authorizedLine(bound) + "restrict,pty " + authorizedLine(again),
	})
	password := passwordLayer(func(_, password string) bool { return password == "open" })
	granting, _ := serveKeys(t, middleware.Message(middleware.Fixed("hi")), dir, ca, password)
	refusing, _ := serveKeys(t, middleware.Message(middleware.Fixed("hi")), dir, ca, password, refusePTY())
	for _, tt := range []struct {
		name string
		srv  *sshtest.Server
		key  gossh.Signer // nil: with the password
		want bool
	}{
		{"an unrestricted key", granting, free, true},
		{"a restricted key", granting, bound, false},
		{"a restricted key that may have a PTY", granting, again, true},
		{"a certificate without extensions", granting, certify(t, ca, free, "guest"), false},
		{"a password", granting, nil, true},
		{"a key where PTYs are refused", refusing, free, false},
		{"a password where PTYs are refused", refusing, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, err := tt.srv.Dial("guest", "open")
			if tt.key != nil {
				_ = client.Close()
				client, err = dialKey(t, tt.srv, "guest", tt.key)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			expect(t, sshtest.Run(t, client, sshtest.Visit{Term: "xterm"}), sshtest.Result{Stdout: "hi", PTY: tt.want})
		})
	}
}

// A source cannot set the extensions that belong to the layer.
func TestPublicKeyExtensions(t *testing.T) {
	key := sshtest.HostKey(t)
	shared := &gossh.Permissions{Extensions: map[string]string{
		"no-touch-required": "", middleware.KeyCertificate: "forged", middleware.KeyFingerprint: "forged", "own": "kept",
	}}
	granted := make(chan map[string]string, 2)
	handler := func(sess ssh.Session) {
		sess.Permissions().Extensions["left behind"] = ""
		granted <- sess.Permissions().Extensions
	}
	srv := sshtest.Serve(t, middleware.PublicKey(sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) {
		return shared, nil
	})), middleware.Handler("test", handler))
	client, err := dialKey(t, srv, "guest", key)
	if err != nil {
		t.Fatal(err)
	}
	sshtest.Run(t, client, sshtest.Visit{})
	got := <-granted
	for name, want := range map[string]string{middleware.KeyFingerprint: gossh.FingerprintSHA256(key.PublicKey()), "own": "kept"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	for _, name := range []string{"no-touch-required", middleware.KeyCertificate} {
		if value, there := got[name]; there {
			t.Errorf("%s is set to %q", name, value)
		}
	}
	if _, there := shared.Extensions["left behind"]; there {
		t.Error("a session changed the source's permissions")
	}
}

// A panic of a source fails one attempt, and neither the connection nor the server.
func TestPublicKeyPanic(t *testing.T) {
	key := sshtest.HostKey(t)
	var calls atomic.Int32
	l := sshtest.NewLog()
	source := sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) {
		if calls.Add(1) == 1 {
			panic("no such\ntable")
		}
		return &gossh.Permissions{}, nil
	})
	srv := sshtest.Serve(t, middleware.Logging(l.Events()), middleware.PublicKey(source), middleware.Handler("test", whose))
	client := srv.DialRaw(t)
	if in, err := client.PublicKey("alice", key); in || err != nil {
		t.Errorf("authenticated: %t, error: %v", in, err)
	}
	l.Line(t, "panic in authentication", "stack")
	l.Line(t, "authentication failed", "panic in authentication")
	if in, err := client.PublicKey("bob", key); !in {
		t.Errorf("the next attempt failed: %v", err)
	}
}

// The log has the reason of the source that supports the kind of key.
func TestPublicKeyReason(t *testing.T) {
	refuse := func(err error) middleware.KeySource {
		return sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) { return nil, err })
	}
	for _, tt := range []struct {
		sources []middleware.KeySource
		want    string
	}{
		{[]middleware.KeySource{refuse(errors.ErrUnsupported), refuse(errors.New("expired")), refuse(errors.New("other"))}, "err=expired"},
		{[]middleware.KeySource{refuse(errors.ErrUnsupported)}, "key not authorized"},
		{[]middleware.KeySource{refuse(nil)}, "key not authorized"}, // neither yes nor no
	} {
		l := sshtest.NewLog()
		srv := sshtest.Serve(t, middleware.Logging(l.Events()), middleware.PublicKey(tt.sources...), middleware.Handler("test", whose))
		if _, err := dialKey(t, srv, "guest", sshtest.HostKey(t)); err == nil {
			t.Error("authenticated")
		}
		l.Line(t, "authentication failed", "method=publickey", tt.want)
	}
}

// The source is not called for a user name that is too long.
func TestPublicKeyUserTooLong(t *testing.T) {
	yes := sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) { return &gossh.Permissions{}, nil })
	srv := sshtest.Serve(t, middleware.PublicKey(yes), middleware.Handler("test", whose))
	for length, want := range map[int]bool{256: true, 257: false} {
		if _, err := dialKey(t, srv, strings.Repeat("u", length), sshtest.HostKey(t)); (err == nil) != want {
			t.Errorf("a name of %d bytes: %v", length, err)
		}
	}
}

// RSA keys are accepted, and signatures with SHA-1 are not: sshtest.Raw signs with ssh-rsa, as clients did before RFC 8332.
func TestPublicKeyRSA(t *testing.T) {
	key := newRSA(t)
	srv, l := serveKeys(t, middleware.Handler("test", whose), keyDir(t, map[string]string{"alice": authorizedLine(key)}), sshtest.HostKey(t))
	if _, err := dialKey(t, srv, "alice", key); err != nil {
		t.Errorf("not authenticated with SHA-2: %v", err)
	}
	if in, err := srv.DialRaw(t).PublicKey("alice", key); in || err != nil {
		t.Errorf("authenticated with SHA-1: %t, %v", in, err)
	}
	l.Line(t, "authentication failed", "ssh-rsa", "not accepted")
}

// hugeKey is an RSA key of 16,384 bits in 32 primes, which takes a second to make and a millisecond to sign with.
type hugeKey struct {
	primes []*big.Int
	n      *big.Int
}

const hugeExponent = 65537

func newHugeKey(t *testing.T) hugeKey {
	t.Helper()
	key := hugeKey{n: big.NewInt(1)}
	for range 32 {
		prime, err := rand.Prime(rand.Reader, 512)
		if err != nil {
			t.Fatal(err)
		}
		key.primes, key.n = append(key.primes, prime), new(big.Int).Mul(key.n, prime)
	}
	return key
}

// public returns the key as SSH sends it (RFC 4253 section 6.6).
func (k hugeKey) public() string {
	return string(sshtest.Fields("ssh-rsa", string(big.NewInt(hugeExponent).Bytes()), "\x00"+string(k.n.Bytes())))
}

// sign returns a valid signature by rsa-sha2-256 (RFC 8332).
func (k hugeKey) sign(data []byte) string {
	sum := sha256.Sum256(data)
	padded := bytes.Repeat([]byte{0xff}, len(k.n.Bytes()))
	end := "\x00\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20" + string(sum[:])
	padded[0], padded[1] = 0, 1
	copy(padded[len(padded)-len(end):], end)
	message, signature := new(big.Int).SetBytes(padded), new(big.Int)
	for _, prime := range k.primes { // the Chinese remainder theorem
		rest := new(big.Int).Div(k.n, prime)
		exponent := new(big.Int).ModInverse(big.NewInt(hugeExponent), new(big.Int).Sub(prime, big.NewInt(1)))
		part := new(big.Int).Exp(new(big.Int).Mod(message, prime), exponent, prime)
		part.Mul(part, rest).Mul(part, new(big.Int).ModInverse(rest, prime))
		signature.Add(signature, part)
	}
	signature.Mod(signature, k.n)
	return string(sshtest.Fields("rsa-sha2-256", string(signature.FillBytes(make([]byte, len(padded))))))
}

// The library verifies the signature of a refused key too. If the connection went on, its 30 proofs would take a third of a
// second of CPU.
func TestPublicKeyTooLargeIsVerifiedOnce(t *testing.T) {
	key := newHugeKey(t)
	srv, log := serveKeys(t, middleware.Handler("test", whose), keyDir(t, nil), sshtest.HostKey(t), middleware.Methods("publickey"))
	query := func(c *sshtest.Raw) (bool, error) {
		return c.Attempt("ada", "ssh-connection", "publickey", sshtest.Fields(false, "rsa-sha2-256", key.public()))
	}
	prove := func(c *sshtest.Raw) (bool, error) {
		shown := sshtest.Fields(true, "rsa-sha2-256", key.public())
		data := sshtest.Fields(string(c.Session), byte(sshtest.MsgUserauthRequest), "ada", "ssh-connection", "publickey", shown)
		return c.Attempt("ada", "ssh-connection", "publickey", sshtest.Fields(shown, key.sign(data)))
	}
	for name, attempts := range map[string][]func(*sshtest.Raw) (bool, error){
		"a proof":                {prove, prove},
		"a query, then a proof":  {query, prove},
		"a query, then the same": {query, query, query},
	} {
		t.Run(name, func(t *testing.T) {
			c := srv.DialRaw(t)
			var err error
			for i, attempt := range attempts {
				in, failed := attempt(c)
				if in || i == 0 && len(attempts) == 3 && failed != nil {
					t.Fatalf("authenticated: %t, error: %v", in, failed)
				}
				err = failed
			}
			if err == nil {
				t.Error("the connection goes on")
			}
		})
	}
	log.Line(t, "unacceptable key proven", "an RSA key of 16")
	if strings.Contains(log.String(), "verification error") {
		t.Error("the signature is not valid")
	}
	c := srv.DialRaw(t)
	if _, err := query(c); err != nil { // an honest client with such a key
		t.Fatal(err)
	}
	if _, err := c.Query("ada", sshtest.HostKey(t).PublicKey()); err != nil {
		t.Errorf("after a query the connection ends: %v", err)
	}
}

// badSigner signs with a signature that is not valid.
type badSigner struct{ gossh.Signer }

func (s badSigner) Sign(random io.Reader, data []byte) (*gossh.Signature, error) {
	return s.Signer.Sign(random, append(data, 'x'))
}

// The signature of a refused key is not verified: a stranger could choose how much work that is. A wrong signature would end
// the connection. The next attempt is as good as any.
func TestPublicKeyRefusedIsNotVerified(t *testing.T) {
	h := newFixture(t, "publickey")
	c := h.Server.DialRaw(t)
	for range 2 {
		if in, err := c.PublicKey("alice", badSigner{sshtest.HostKey(t)}); in || err != nil {
			t.Fatalf("authenticated: %t, error: %v", in, err)
		}
		h.log.Line(t, "authentication failed", `err="key not authorized"`)
	}
	if accepted, err := c.Query("alice", h.keys["alice"].PublicKey()); !accepted {
		t.Errorf("the next key is not accepted: %v", err)
	}
	if in, err := c.PublicKey("alice", h.keys["alice"]); !in {
		t.Errorf("not authenticated: %v", err)
	}
	c = h.Server.DialRaw(t)
	if in, err := c.PublicKey("alice", badSigner{h.keys["alice"]}); in || err == nil {
		t.Errorf("with a wrong signature: authenticated: %t, error: %v", in, err)
	}
}

// A security key must be touched, whatever the source permits.
func TestPublicKeyOfASecurityKey(t *testing.T) {
	key := newSecurityKey(t)
	source := sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) {
		return &gossh.Permissions{Extensions: map[string]string{"no-touch-required": ""}}, nil
	})
	srv := sshtest.Serve(t, middleware.PublicKey(source), middleware.Handler("test", whoami))
	for _, touched := range []bool{true, false} {
		key.touched = touched
		client, err := dialKey(t, srv, "alice", key)
		if (err == nil) != touched {
			t.Errorf("touched %t: %v", touched, err)
		}
		if client != nil {
			_ = client.Close()
		}
	}
}

// securityKey signs as a FIDO token does (OpenSSH's PROTOCOL.u2f), touched or not.
type securityKey struct {
	public  gossh.PublicKey
	private ed25519.PrivateKey
	touched bool
}

func newSecurityKey(t *testing.T) *securityKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := gossh.ParsePublicKey(gossh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{gossh.KeyAlgoSKED25519, public, "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	return &securityKey{public: parsed, private: private}
}

func (k *securityKey) PublicKey() gossh.PublicKey { return k.public }

func (k *securityKey) Sign(_ io.Reader, data []byte) (*gossh.Signature, error) {
	var flags byte
	if k.touched {
		flags = 1
	}
	application, message := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	seen := []byte{flags, 0, 0, 0, 1} // and the counter
	return &gossh.Signature{
		Format: gossh.KeyAlgoSKED25519,
		Blob:   ed25519.Sign(k.private, slices.Concat(application[:], seen, message[:])),
		Rest:   seen,
	}, nil
}

func TestPublicKeyErrors(t *testing.T) {
	yes := sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) { return &gossh.Permissions{}, nil })
	handler := middleware.Layer{Server: wish.WithPublicKeyAuth(func(ssh.Context, ssh.PublicKey) bool { return true })}
	for _, tt := range []struct {
		name   string
		layers []middleware.Layer
		want   string
	}{
		{"no sources", []middleware.Layer{middleware.PublicKey()}, "layer publickey: no key source"},
		{"a missing source", []middleware.Layer{middleware.PublicKey(yes, nil)}, "layer publickey: no key source"},
		{"twice", []middleware.Layer{middleware.PublicKey(yes), middleware.PublicKey(yes)}, "layer publickey: it stands in the list twice"},
		{"after Open", []middleware.Layer{middleware.Open(), middleware.PublicKey(yes)}, "layer publickey: another layer"},
		{"before Open", []middleware.Layer{middleware.PublicKey(yes), middleware.Open()}, "layer open: another layer"},
		{"the library's handler", []middleware.Layer{handler, middleware.PublicKey(yes)}, "would override"},
	} {
		_, err := wish.NewServer(withKey(t), middleware.NewStack(append(tt.layers, middleware.Message(middleware.Fixed("")))...).Install)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

// OpenSSH's ssh logs in with a key, and with a certificate made by ssh-keygen.
func TestPublicKeyOfSSH(t *testing.T) {
	dir := t.TempDir()
	tool := func(name string, args ...string) (string, error) {
		bin, err := exec.LookPath(name)
		if err != nil {
			sshtest.Need(t, name, "apt-get install openssh-client", false)
		}
		cmd := exec.CommandContext(t.Context(), bin, args...)
		cmd.Dir = dir
		cmd.WaitDelay = time.Second
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err = cmd.Run(); err != nil {
			err = errors.New(err.Error() + ": " + errs.String())
		}
		return out.String(), err
	}
	ca, key := keyFile(t, filepath.Join(dir, "ca")), keyFile(t, filepath.Join(dir, "id"))
	vouched := keyFile(t, filepath.Join(dir, "vouched"))
	if out, err := tool("ssh-keygen", "-q", "-s", "ca", "-I", "laptop", "-n", "alice", "-z", "9", "vouched.pub"); err != nil {
		t.Fatal(out, err)
	}
	srv, _ := serveKeys(t, middleware.Handler("test", whose), keyDir(t, map[string]string{"alice": authorizedLine(key)}), ca)
	host, port, err := net.SplitHostPort(srv.Address)
	if err != nil {
		t.Fatal(err)
	}
	visit := func(user, identity string) (string, error) {
		return tool("ssh", "-F", "none", "-T", "-i", identity, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
			"-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", port, user+"@"+host)
	}
	for _, tt := range []struct{ user, identity, want string }{
		{"alice", "id", "alice " + gossh.FingerprintSHA256(key.PublicKey())},
		{"alice", "vouched", "alice " + gossh.FingerprintSHA256(vouched.PublicKey()) + " laptop serial 9 by "},
		{"bob", "id", ""},
		{"bob", "vouched", ""},
	} {
		out, err := visit(tt.user, tt.identity)
		if (err == nil) != (tt.want != "") || !strings.HasPrefix(out, tt.want) {
			t.Errorf("%s with %s: %q, %v", tt.user, tt.identity, out, err)
		}
	}
}

// keyFile writes a new key for ssh, and its public key in a second file.
func keyFile(t *testing.T, path string) gossh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{path: pem.EncodeToMemory(block), path + ".pub": []byte(authorizedLine(signer))} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return signer
}

// A layer that allows SHA-1 signatures does not make the server accept one.
func TestPublicKeyRefusesSHA1(t *testing.T) {
	key := newRSA(t)
	yes := sourceFunc(func(string, gossh.PublicKey) (*gossh.Permissions, error) { return &gossh.Permissions{}, nil })
	weak := configures(func(cfg *gossh.ServerConfig) {
		cfg.PublicKeyAuthAlgorithms = []string{gossh.KeyAlgoRSA, gossh.KeyAlgoRSASHA512}
	})
	srv := sshtest.Serve(t, middleware.PublicKey(yes), weak, middleware.Handler("test", whoami))
	for algorithm, in := range map[string]bool{gossh.KeyAlgoRSA: false, gossh.KeyAlgoRSASHA512: true} {
		limited, err := gossh.NewSignerWithAlgorithms(key.(gossh.AlgorithmSigner), []string{algorithm})
		if err != nil {
			t.Fatal(err)
		}
		client, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
			User: "guest", Auth: []gossh.AuthMethod{gossh.PublicKeys(limited)}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
		})
		if (err == nil) != in {
			t.Errorf("%s: error %v", algorithm, err)
		}
		if err == nil {
			_ = client.Close()
		}
	}
}
