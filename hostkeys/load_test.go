//go:build !windows

package hostkeys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

// newEd25519 returns a key for a test to hide or damage.
func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// openSSH returns the file of the key in OpenSSH format.
func openSSH(t testing.TB, private crypto.PrivateKey) []byte {
	t.Helper()
	block, err := gossh.MarshalPrivateKey(private, "test")
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

// pkcs8 returns the file of the key in PKCS #8 format.
func pkcs8(t testing.TB, private crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// setAside returns the hint for a file that cannot be repaired.
func setAside(path string) string {
	return "restore it from a backup or, for a new identity, run: mv " + path + " ~/"
}

// wantRefused asserts that every call fails because of the file dir/id_test, and that no key is created in its place.
func wantRefused(t *testing.T, dir string, kind error, fix string) {
	t.Helper()
	path := filepath.Join(dir, "id_test")
	before := names(t, dir)
	_, err := Load(dir)
	wantError(t, err, kind, path, fix)
	keys, created, err := LoadOrCreate(dir)
	wantError(t, err, kind, path, fix)
	if keys != nil || created {
		t.Errorf("LoadOrCreate succeeded: keys %v, created %v", keys, created)
	}
	if after := names(t, dir); len(after) != len(before) {
		t.Errorf("the directory held %q and now holds %q", before, after)
	}
}

func TestLoadRefusesFiles(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(path string) error
		kind    error
	}{
		{"directory", func(path string) error { return os.Mkdir(path, 0o700) }, reason("is a directory")},
		{"fifo", func(path string) error { return syscall.Mkfifo(path, 0o600) }, reason("is a named pipe")},
		{"device", func(path string) error { return os.Symlink("/dev/zero", path) }, reason("is not a regular file")},
		{"dangling", func(path string) error { return os.Symlink("nowhere", path) }, errDangling},
		{"loop", func(path string) error { return os.Symlink("id_test", path) }, syscall.ELOOP},
		{"large", func(path string) error { return os.WriteFile(path, make([]byte, maxSize+1), 0o600) }, reason("is larger than 64 KiB")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := privateDir(t)
			path := filepath.Join(dir, "id_test")
			if err := tt.prepare(path); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, dir, tt.kind, setAside(path))
		})
	}
}

func TestLoadRefusesSocket(t *testing.T) {
	dir := privateDir(t)
	t.Chdir(dir) // the path of a socket must be short
	listener, err := net.Listen("unix", "id_test")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := os.Chmod("id_test", 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, dir, reason("is a socket or a device"), setAside(filepath.Join(dir, "id_test")))
}

func TestLoadModes(t *testing.T) {
	data := openSSH(t, newEd25519(t))
	for _, tt := range []struct {
		mode    fs.FileMode
		refused bool
	}{
		{0o600, false}, {0o400, false}, {0o700, false},
		{0o640, true}, {0o620, true}, {0o610, true}, {0o604, true}, {0o602, true}, {0o601, true}, {0o644, true},
	} {
		t.Run(tt.mode.String(), func(t *testing.T) {
			dir := privateDir(t)
			path := filepath.Join(dir, "id_test")
			put(t, path, data)
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			if tt.refused {
				wantRefused(t, dir, reason(fmt.Sprintf("others can read or write it (mode %04o)", tt.mode)), "run: chmod 600 "+path)
			} else if keys, err := Load(dir); err != nil || len(keys) != 1 {
				t.Errorf("%d keys, error %v; want one", len(keys), err)
			}
		})
	}
}

func TestLoadRefusesUnreadableFile(t *testing.T) {
	if asNobody(t) {
		return
	}
	dir := privateDir(t)
	path := create(t, dir, "ed25519").Path
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_, _, err := LoadOrCreate(dir)
	wantError(t, err, fs.ErrPermission, path, "run: chmod u+rwX "+path)
}

func TestLoadRefusesDamage(t *testing.T) {
	good := newEd25519(t)
	file := openSSH(t, good)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	halves := append(good.Seed(), newEd25519(t)[ed25519.SeedSize:]...)

	tests := []struct {
		name string
		data []byte
		kind error
	}{
		{"empty", nil, errEmpty},
		{"blank", []byte("\n \n"), errEmpty},
		{"text", []byte("hello"), errDamaged},
		{"truncated", file[:len(file)/2], errDamaged},
		{"bytes lost", bytes.Replace(file, file[100:104], nil, 1), errDamaged},
		{"halves differ", openSSH(t, ed25519.PrivateKey(halves)), errDamaged},
		{"P-224", pkcs8(t, p224), errDamaged},
		{"certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: good}), errDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := privateDir(t)
			path := filepath.Join(dir, "id_test")
			put(t, path, tt.data)
			wantRefused(t, dir, tt.kind, setAside(path))
		})
	}
}

func TestLoadRefusesPublicKey(t *testing.T) {
	public := newEd25519(t).Public()
	sshPublic, err := gossh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"OpenSSH":  gossh.MarshalAuthorizedKey(sshPublic),
		"PEM":      pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}),
		"RFC 4716": []byte("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n"),
	} {
		t.Run(name, func(t *testing.T) {
			dir := privateDir(t)
			path := filepath.Join(dir, "id_test")
			put(t, path, data)
			wantRefused(t, dir, errPublic, setAside(path))
		})
	}
}

// The parser of x/crypto quotes the name of an unknown curve. The errors of this package must not quote the parser.
func TestErrorsHoldNoKeyBytes(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(openSSH(t, private))
	const secret = "\x1b]0;key"
	at := bytes.LastIndex(block.Bytes, []byte("nistp256"))
	copy(block.Bytes[at:], secret)

	if _, err := gossh.ParsePrivateKey(pem.EncodeToMemory(block)); err == nil || !strings.Contains(err.Error(), secret) {
		t.Errorf("x/crypto no longer quotes the curve, so this test proves nothing: %v", err)
	}
	_, err = parse(pem.EncodeToMemory(block))
	if !errors.Is(err, errDamaged) || strings.Contains(err.Error(), secret) {
		t.Errorf("error is %q, want %q", err, errDamaged)
	}
}

// openssl writes other blocks and text before a private key. The first private key in the file is the host key.
func TestLoadSkipsOtherBlocks(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	p256 := []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07} // openssl ecparam -name prime256v1
	bag := "Bag Attributes\n    localKeyID: 01 02 \n    friendlyName: host\nKey Attributes: <No Attributes>\n"
	key, other := block("EC PRIVATE KEY", sec1), string(openSSH(t, newEd25519(t)))
	want, err := gossh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"EC PARAMETERS":     block("EC PARAMETERS", p256) + key,
		"certificate":       block("CERTIFICATE", []byte("a certificate")) + key,
		"certificates":      strings.Repeat(block("CERTIFICATE", []byte("a certificate")), 3) + key + other,
		"bag attributes":    bag + key + bag + block("CERTIFICATE", []byte("a certificate")),
		"public key":        block("PUBLIC KEY", []byte("a public key")) + string(pkcs8(t, private)),
		"two private keys":  key + other,
		"certificate after": key + block("CERTIFICATE", []byte("a certificate")),
	} {
		dir := privateDir(t)
		put(t, filepath.Join(dir, "id_test"), []byte(data))
		keys, err := Load(dir)
		if err != nil || len(keys) != 1 || keys[0].Fingerprint() != gossh.FingerprintSHA256(want) {
			t.Errorf("%s: %d keys, error %v; want the ECDSA key", name, len(keys), err)
		}
	}
}

// A file that openssl has written is a host key as it is.
func TestLoadReadsOpenSSL(t *testing.T) {
	_, err := exec.LookPath("openssl")
	sshtest.Need(t, "openssl", "apt-get install openssl", err == nil)
	dir := privateDir(t)
	path := filepath.Join(dir, "ssh_host_ecdsa_key")
	if out, err := exec.Command("openssl", "ecparam", "-genkey", "-name", "secp384r1", "-out", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := Load(dir); err != nil || len(keys) != 1 || keys[0].Type() != gossh.KeyAlgoECDSA384 {
		t.Errorf("keys %v, error %v", keys, err)
	}
}

// The hint for a key of PuTTY converts it in its place.
func TestLoadRefusesPuTTY(t *testing.T) {
	dir := privateDir(t)
	path := filepath.Join(dir, "id_test")
	fix := "run: puttygen " + path + " -O private-openssh -o " + path
	put(t, path, []byte("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n"))
	wantRefused(t, dir, errPuTTY, fix)

	_, err := exec.LookPath("puttygen")
	sshtest.Need(t, "puttygen", "apt-get install putty-tools", err == nil)
	for _, args := range []string{"-t ed25519 -o id_test -O private --new-passphrase /dev/null", strings.TrimPrefix(fix, "run: puttygen ")} {
		cmd := exec.Command("puttygen", strings.Fields(args)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("puttygen %s: %v\n%s", args, err, out)
		}
	}
	if keys, err := Load(dir); err != nil || len(keys) != 1 {
		t.Errorf("after the fix: %d keys, error %v", len(keys), err)
	}
}

func TestLoadRefusesShortRSA(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	dir := privateDir(t)
	put(t, filepath.Join(dir, "id_test"), pkcs8(t, private))
	_, err = Load(dir)
	if err == nil || !strings.HasSuffix(err.Error(), "id_test: is an RSA key of 1024 bits, and clients expect at least 2048") {
		t.Errorf("error is %v", err)
	}
}

func TestLoadRefusesDSA(t *testing.T) {
	for _, form := range []string{"RFC4716", "PEM"} {
		t.Run(form, func(t *testing.T) {
			dir := privateDir(t)
			path := filepath.Join(dir, "id_test")
			if err := exec.Command("ssh-keygen", "-q", "-t", "dsa", "-m", form, "-N", "", "-f", path).Run(); err != nil {
				t.Skipf("ssh-keygen cannot create DSA keys: %v", err)
			}
			wantRefused(t, dir, errDSA, setAside(path))
		})
	}
}

func TestLoadRefusesPassphrase(t *testing.T) {
	for name, args := range map[string]string{
		"ed25519":     "-t ed25519",
		"rsa":         "-t rsa -b 2048",
		"rsa PKCS1":   "-t rsa -b 2048 -m PEM",
		"rsa PKCS8":   "-t rsa -b 2048 -m PKCS8",
		"ecdsa SEC1":  "-t ecdsa -m PEM",
		"ecdsa PKCS8": "-t ecdsa -m PKCS8",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := privateDir(t)
			path := filepath.Join(dir, "id_test")
			keygen(t, dir, append(strings.Fields(args), "-q", "-N", "secret", "-f", path)...)
			wantRefused(t, dir, errPassphrase, "run: ssh-keygen -p -f "+path)

			_, err := Load(dir)
			if _, ok := errors.AsType[*gossh.PassphraseMissingError](err); !ok {
				t.Errorf("error is %v, want a *PassphraseMissingError inside", err)
			}
			keygen(t, dir, "-q", "-p", "-P", "secret", "-N", "", "-f", path)
			if keys, err := Load(dir); err != nil || len(keys) != 1 {
				t.Errorf("after the fix: %d keys, error %v", len(keys), err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, keyType := range []string{"ed25519", "ecdsa"} {
		private, err := generate(keyType)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(openSSH(f, private))
		f.Add(pkcs8(f, private))
	}
	f.Add([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	f.Add([]byte("ssh-ed25519 AAAA"))
	f.Fuzz(func(t *testing.T, data []byte) {
		signer, err := parse(data)
		if (signer == nil) == (err == nil) {
			t.Fatalf("signer %v, error %v; want one of them", signer, err)
		}
		if err == nil && (Key{Signer: signer}).Bits() < 256 {
			t.Errorf("a %s key of %d bits was accepted", signer.PublicKey().Type(), (Key{Signer: signer}).Bits())
		}
	})
}
