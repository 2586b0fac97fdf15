package userca

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/watchfile"
)

// here is the address of the client.
var here = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}

// longAgo is a modification time that is not racy.
var longAgo = time.Now().Add(-time.Hour).Truncate(time.Second)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newSigner(t testing.TB) gossh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	signer, err := gossh.NewSignerFromKey(private)
	must(t, err)
	return signer
}

func newRSA(t testing.TB, bits int) gossh.AlgorithmSigner {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, bits)
	must(t, err)
	signer, err := gossh.NewSignerFromKey(private)
	must(t, err)
	return signer.(gossh.AlgorithmSigner)
}

// text returns the line of a key in a file.
func text(key gossh.Signer) string { return string(gossh.MarshalAuthorizedKey(key.PublicKey())) }

func fingerprint(key gossh.Signer) string { return gossh.FingerprintSHA256(key.PublicKey()) }

// put writes a file with that modification time.
func put(t testing.TB, path, text string, changed time.Time) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
	must(t, os.Chtimes(path, changed, changed))
	return path
}

func newFile(t testing.TB, text string) string {
	t.Helper()
	return put(t, filepath.Join(t.TempDir(), "file"), text, longAgo)
}

func open(t testing.TB, trusted, revoked string) *Authorities {
	t.Helper()
	a, err := Open(newFile(t, trusted), Options{Revoked: newFile(t, revoked), Warn: func(err error) { t.Errorf("warned: %v", err) }})
	must(t, err)
	return a
}

// newCert returns a certificate that is valid for ada. Change modifies it before it is signed.
func newCert(t testing.TB, ca gossh.Signer, key gossh.PublicKey, change func(*gossh.Certificate)) *gossh.Certificate {
	t.Helper()
	now := uint64(time.Now().Unix())
	cert := &gossh.Certificate{
		Key: key, CertType: gossh.UserCert, KeyId: "ada's laptop", Serial: 17, ValidPrincipals: []string{"bob", "ada"},
		ValidAfter: now - 60, ValidBefore: now + 60,
		Permissions: gossh.Permissions{CriticalOptions: map[string]string{}, Extensions: map[string]string{}},
	}
	if change != nil {
		change(cert)
	}
	sign(t, cert, ca)
	// Parse it as a server does.
	parsed, err := gossh.ParsePublicKey(cert.Marshal())
	must(t, err)
	return parsed.(*gossh.Certificate)
}

// sign also signs certificates that the library would not sign: without principals, or with an empty one.
func sign(t testing.TB, cert *gossh.Certificate, ca gossh.Signer) {
	t.Helper()
	cert.Nonce, cert.SignatureKey = make([]byte, 32), ca.PublicKey()
	unsigned := cert.Marshal()
	unsigned = unsigned[:len(unsigned)-4] // the length of the signature
	var err error
	if several, ok := ca.(gossh.MultiAlgorithmSigner); ok {
		cert.Signature, err = several.SignWithAlgorithm(rand.Reader, unsigned, several.Algorithms()[0])
	} else {
		cert.Signature, err = ca.Sign(rand.Reader, unsigned)
	}
	must(t, err)
}

func TestAuthorize(t *testing.T) {
	ca, other, unknown, key := newSigner(t), newSigner(t), newSigner(t), newSigner(t).PublicKey()
	now := uint64(time.Now().Unix())
	a := open(t, "# authorities\n"+text(ca)+text(other), "")
	option := func(name, value string) func(*gossh.Certificate) {
		return func(c *gossh.Certificate) { c.CriticalOptions[name] = value }
	}
	for _, tt := range []struct {
		name   string
		ca     gossh.Signer
		change func(*gossh.Certificate)
		want   string // part of the error, or "" for no error
	}{
		{"good", ca, nil, ""},
		{"of the other authority", other, nil, ""},
		{"for ever", ca, func(c *gossh.Certificate) { c.ValidAfter, c.ValidBefore = 0, gossh.CertTimeInfinity }, ""},
		{"of an unknown authority", unknown, nil, "the authority of the certificate is unknown"},
		{"for a host", ca, func(c *gossh.Certificate) { c.CertType = gossh.HostCert }, "not a user certificate"},
		{"for neither a user nor a host", ca, func(c *gossh.Certificate) { c.CertType = 0 }, "not a user certificate"},
		{"without principals", ca, func(c *gossh.Certificate) { c.ValidPrincipals = nil }, "no principal"},
		{"for another", ca, func(c *gossh.Certificate) { c.ValidPrincipals = []string{"bob", "Ada", "ada ", "*", ""} }, "not a principal"},
		{"expired", ca, func(c *gossh.Certificate) { c.ValidBefore = now - 1 }, "expired"},
		{"expires now", ca, func(c *gossh.Certificate) { c.ValidBefore = now }, "expired"},
		{"not yet valid", ca, func(c *gossh.Certificate) { c.ValidAfter = now + 50 }, "not yet valid"},
		{"with a forced command", ca, option("force-command", "ls"), "force-command"},
		{"with a PIN", ca, option("verify-required", ""), "verify-required"},
		{"with an unknown critical option", ca, option("unknown-option@example.com", ""), "unknown-option"},
		{"from this address", ca, option("source-address", "10.0.0.0/8,192.0.2.7"), ""},
		{"from this network", ca, option("source-address", "192.0.2.0/24"), ""},
		{"from another address", ca, option("source-address", "10.0.0.0/8"), "not valid from this address"},
		{"from an empty list", ca, option("source-address", ""), "invalid source-address"},
		{"from a host name", ca, option("source-address", "192.0.2.7,example.com"), "invalid source-address"},
		{"from all but one", ca, option("source-address", "192.0.2.7,!10.0.0.1"), "invalid source-address"},
		{"without a touch", ca, func(c *gossh.Certificate) { c.Extensions["no-touch-required"] = "" }, "touch"},
		{"for an authority", ca, func(c *gossh.Certificate) { c.Key = other.PublicKey() }, "for the key of an authority"},
		{"for itself", ca, func(c *gossh.Certificate) { c.Key = ca.PublicKey() }, "for the key of an authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			granted, err := a.Authorize("ada", here, newCert(t, tt.ca, key, tt.change))
			if (err == nil) != (tt.want == "") || (granted == nil) == (tt.want == "") {
				t.Fatalf("returned %v, %v", granted, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := a.Authorize("", here, newCert(t, ca, key, func(c *gossh.Certificate) { c.ValidPrincipals = []string{""} })); err == nil {
		t.Error("an empty user name was accepted")
	}
	if _, err := a.Authorize("ada", nil, newCert(t, ca, key, option("source-address", "0.0.0.0/0,::/0"))); err == nil {
		t.Error("a client without an address was accepted")
	}
}

func TestAuthorizeKeys(t *testing.T) {
	ca, key := newSigner(t), newSigner(t)
	a := open(t, text(ca), "")
	for name, plain := range map[string]gossh.Signer{"a key": key, "the authority": ca} {
		if _, err := a.Authorize("ada", here, plain.PublicKey()); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A certificate that was changed after it was signed is refused.
func TestAuthorizeForged(t *testing.T) {
	ca, mallory := newSigner(t), newSigner(t)
	a := open(t, text(ca), "")
	for name, forge := range map[string]func(*gossh.Certificate){
		"another principal": func(c *gossh.Certificate) { c.ValidPrincipals = []string{"ada", "root"} },
		"another key":       func(c *gossh.Certificate) { c.Key = newSigner(t).PublicKey() },
		"another authority": func(c *gossh.Certificate) { c.SignatureKey = ca.PublicKey() },
	} {
		signer := ca
		if name == "another authority" {
			signer = mallory
		}
		cert := newCert(t, signer, mallory.PublicKey(), nil)
		forge(cert)
		if _, err := a.Authorize("ada", here, cert); err == nil || !strings.Contains(err.Error(), "signature") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sha1Signer signs like ssh-keygen before OpenSSH 8.2.
type sha1Signer struct{ gossh.AlgorithmSigner }

func (s sha1Signer) Algorithms() []string { return []string{gossh.KeyAlgoRSA} }

func TestStrength(t *testing.T) {
	ca, good, key := newRSA(t, 2048), newRSA(t, 2048), newSigner(t)
	weak, err := gossh.ParsePublicKey(gossh.Marshal(struct{ N, E, M []byte }{ // not a real key
		[]byte("ssh-rsa"), []byte{1, 0, 1}, append([]byte{0}, slices.Repeat([]byte{0xff}, 128)...)}))
	must(t, err)
	a := open(t, text(ca), "")
	for name, tt := range map[string]struct {
		cert *gossh.Certificate
		want string
	}{
		"SHA-2":    {newCert(t, ca, good.PublicKey(), nil), ""},
		"SHA-1":    {newCert(t, sha1Signer{ca}, key.PublicKey(), nil), "SHA-1"},
		"weak key": {newCert(t, ca, weak, nil), "1024 bits"},
	} {
		if _, err := a.Authorize("ada", here, tt.cert); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(newFile(t, string(gossh.MarshalAuthorizedKey(weak))), Options{}); err == nil {
		t.Error("a weak authority was accepted")
	}
}

func TestPermissions(t *testing.T) {
	ca := newSigner(t)
	cert := newCert(t, ca, newSigner(t).PublicKey(), func(c *gossh.Certificate) {
		c.CriticalOptions["source-address"] = "192.0.2.0/24"
		c.Extensions = map[string]string{"permit-pty": "", "permit-user-rc": "", "gliderlabs/ssh.PublicKey": "x", "unknown-option": ""}
	})
	granted, err := open(t, text(ca), "").Authorize("ada", here, cert)
	must(t, err)
	if got := strings.Join(slices.Sorted(maps.Keys(granted.Extensions)), " "); got != "permit-pty permit-user-rc" {
		t.Errorf("permitted %q", got)
	}
	if granted.CriticalOptions["source-address"] != "192.0.2.0/24" {
		t.Errorf("critical options %v", granted.CriticalOptions)
	}
}

func TestRevoked(t *testing.T) {
	ca, other, key := newSigner(t), newSigner(t), newSigner(t)
	cert := newCert(t, ca, key.PublicKey(), nil)
	for list, revoked := range map[string]bool{
		"":                                 false,
		"# id: ada's laptop\n":             false,
		"id: ada's laptop\r\n":             true,
		"id:ada's laptop":                  true,
		"id: ada's":                        false,
		"id: Ada's laptop":                 false,
		"serial: 17":                       true,
		"serial:17":                        true,
		"serial: 18":                       false,
		"serial: 17 " + fingerprint(ca):    true,
		"serial: 17 " + fingerprint(other): false,
		fingerprint(key):                   true,
		fingerprint(ca):                    true,
		fingerprint(other):                 false,
		"serial: 1\nserial: 2\nid: x ":     false,
		"\ufeffserial: 17\r\nid: none":     true,
	} {
		_, err := open(t, text(ca)+text(other), list).Authorize("ada", here, cert)
		if got := errors.Is(err, errRevoked); got != revoked || !revoked && err != nil {
			t.Errorf("with %q: %v", list, err)
		}
	}
}

func TestRevocationErrors(t *testing.T) {
	sum := fingerprint(newSigner(t))
	for _, list := range []string{
		"17", "serial", "serial:", "serial: x", "serial: -1", "serial: 0x11", "serial: 18446744073709551616", "serial: 1-9", "serial: 1 2", "serial: 0",
		"serial: 1 " + sum + " " + sum, "serial: 1 " + sum[:49], "id", "id:", "id: ", "ID: x", "key: ssh-ed25519", "sha256:" + sum[7:], "SHA256:",
		sum + "=", sum + " ada", sum[:49], sum + "x", "MD5:00:11", "SHA256:" + strings.Repeat("_", 43), "id: " + strings.Repeat("x", keyfile.MaxLine),
	} {
		if _, err := parseRevocations("revoked", "# list\n"+list); err == nil || !strings.HasPrefix(err.Error(), "revoked:2: ") {
			t.Errorf("%.60q: %v", list, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	good, missing := newFile(t, text(newSigner(t))), filepath.Join(t.TempDir(), "missing")
	shared := newFile(t, "")
	must(t, os.Chmod(shared, 0o602))
	for _, tt := range []struct{ trusted, revoked, want string }{
		{missing, "", missing + ": no such file"},
		{good, missing, missing + ": no such file"},
		{shared, "", "others can write"},
		{good, shared, "others can write"},
		{t.TempDir(), "", "is a directory"},
		{newFile(t, "cert-authority "+text(newSigner(t))), "", ":1: not a public key"},
		{newFile(t, "\n"+text(newSigner(t))+"x"), "", ":3: not a public key"},
		{good, newFile(t, "x"), ":1: not a revocation"},
	} {
		a, err := Open(tt.trusted, Options{Revoked: tt.revoked})
		var problem *watchfile.Error
		if a != nil || !errors.As(err, &problem) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("opened %v, error %v, want %q", a, err, tt.want)
		}
	}
}

// The last good version stays in use, and each invalid version is reported once.
func TestReread(t *testing.T) {
	ca, next := newSigner(t), newSigner(t)
	key := newSigner(t).PublicKey()
	trusted, revoked := newFile(t, text(ca)), newFile(t, "id: nothing")
	var warned []string
	a, err := Open(trusted, Options{Revoked: revoked, Warn: func(err error) { warned = append(warned, err.Error()) }})
	must(t, err)
	check := func(signer gossh.Signer, in bool, want ...string) {
		t.Helper()
		for range 3 {
			if _, err := a.Authorize("ada", here, newCert(t, signer, key, nil)); (err == nil) != in {
				t.Errorf("Authorize returned %v", err)
			}
		}
		if !slices.EqualFunc(warned, want, strings.Contains) {
			t.Errorf("warned %q, want %q", warned, want)
		}
		warned = nil
	}
	check(ca, true)
	check(next, false)

	put(t, trusted, text(ca)+text(next), longAgo.Add(time.Minute))
	check(next, true)
	put(t, trusted, text(ca)+"x", time.Now())
	check(next, true, trusted+":2: not a public key")
	must(t, os.Remove(trusted))
	check(next, true, trusted+": no such file")
	put(t, trusted, text(next), time.Now())
	check(ca, false)
	check(next, true)

	put(t, revoked, "id: nothing\nserial: 17", time.Now())
	check(next, false)
	put(t, revoked, "serial: x", time.Now())
	check(next, false, revoked+":1: a serial number")
	must(t, os.Chmod(revoked, 0o666))
	check(next, false, revoked+": others can write")
	must(t, os.Remove(revoked))
	check(next, false, revoked+": no such file")
	put(t, revoked, "", time.Now())
	check(next, true, revoked+": entries that are gone: 2;")

	// Nobody is let in while the list cannot be used, not even who was let in before.
	put(t, revoked, "serial: x", time.Now())
	check(next, false, revoked+":1: a serial number is a decimal number of at most 64 bits; every certificate is refused")
	put(t, revoked, "id: nothing", time.Now())
	check(next, true)

	put(t, trusted, "", time.Now())
	check(next, false)
	if got := a.Keys(); len(got) != 0 {
		t.Errorf("authorities %q", got)
	}
}

func TestConcurrently(t *testing.T) {
	ca := newSigner(t)
	a := open(t, text(ca), "")
	cert := newCert(t, ca, newSigner(t).PublicKey(), nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if _, err := a.Authorize("ada", here, cert); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestKeys(t *testing.T) {
	ca, other := newSigner(t), newSigner(t)
	if got, want := fmt.Sprint(open(t, text(ca)+text(other), "").Keys()), fmt.Sprint([]string{fingerprint(ca), fingerprint(other)}); got != want {
		t.Errorf("authorities %s, want %s", got, want)
	}
}

// Certificates of ssh-keygen are accepted, and fingerprints that it shows revoke them.
func TestKeygen(t *testing.T) {
	bin, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	dir := t.TempDir()
	keygen := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(bin, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	keygen("-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "ca")
	keygen("-q", "-t", "ecdsa", "-N", "", "-f", "id")
	keygen("-q", "-s", "ca", "-I", "laptop", "-z", "5", "-n", "ada,root", "-V", "-1m:+1h", "-O", "clear", "-O", "permit-pty", "-O", "source-address=192.0.2.0/24", "id.pub")
	encoded, err := os.ReadFile(filepath.Join(dir, "id-cert.pub"))
	must(t, err)
	cert, _, _, _, err := gossh.ParseAuthorizedKey(encoded)
	must(t, err)
	must(t, os.Chmod(filepath.Join(dir, "ca.pub"), 0o600))
	revoked := newFile(t, "")
	a, err := Open(filepath.Join(dir, "ca.pub"), Options{Revoked: revoked})
	must(t, err)
	granted, err := a.Authorize("root", here, cert)
	must(t, err)
	if got := fmt.Sprint(granted.Extensions); got != "map[permit-pty:]" {
		t.Errorf("permitted %s", got)
	}
	for _, name := range []string{"id.pub", "id-cert.pub", "ca.pub"} {
		put(t, revoked, strings.Fields(keygen("-l", "-f", name))[1], time.Now())
		if _, err := a.Authorize("root", here, cert); !errors.Is(err, errRevoked) {
			t.Errorf("%s is revoked: %v", name, err)
		}
	}
}

// A list in UTF-16, or whose lines end in CR, is refused. Read as it is, it could be one long comment that revokes nothing.
func TestParseOtherText(t *testing.T) {
	for data, want := range map[string]string{
		"\xff\xfes\x00e\x00r\x00i\x00a\x00l\x00": "list: is in UTF-16, and must be in UTF-8",
		"# revoked\rserial: 17\r":                "list: has lines that end in CR, and must end in LF",
	} {
		_, keysErr := parseAuthorities("list", data)
		_, err := parseRevocations("list", data)
		for _, err := range []error{keysErr, err} {
			problem, ok := errors.AsType[*watchfile.Error](err)
			if !ok || problem.Error() != want || problem.Hint() == "" {
				t.Errorf("%q: %v, want %s", data, err, want)
			}
		}
	}
}

func FuzzParseRevocations(f *testing.F) {
	for _, seed := range []string{
		"id: ada's laptop", "serial: 17", "serial: 18 SHA256:8NfA4fRZTyG2v4rZb5NFvOVQOS3GsQvmCsEfi0aWb2Q", "# x\r\n\ufeffserial: 1",
		"SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDBNMhD/aNFhoRG4qs", "serial: 0", "id:", "\x00", "SHA256:", "serial:\t1  ",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		r, err := parseRevocations("revoked", data)
		texts, unread := keyfile.Lines(data)
		if unread != nil {
			if err == nil {
				t.Errorf("no error, want %v", unread)
			}
			return
		}
		said := 0
		for range texts {
			said++
		}
		if entries := len(r.ids) + len(r.keys) + len(r.serials); err == nil && (entries > said || said > 0 && entries == 0) {
			t.Errorf("%d entries out of %d lines", entries, said)
		}
		if err == nil && (r.ids[""] || r.serials[serial{}]) {
			t.Error("an empty id or serial is revoked")
		}
	})
}
