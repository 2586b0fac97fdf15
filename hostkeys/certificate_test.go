//go:build !windows

package hostkeys

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

// certified returns a directory with a host key and the certificate that ssh-keygen signs for it with these arguments, and
// the path of the key.
func certified(t *testing.T, args string) (dir, path string) {
	t.Helper()
	dir = privateDir(t)
	keygen(t, dir, "-q", "-t", "ed25519", "-N", "", "-f", "ca")
	path = create(t, dir, "ed25519").Path
	keygen(t, dir, append(strings.Fields("-q -s ca -I server "+args), path)...)
	return dir, path
}

func TestCertificate(t *testing.T) {
	dir, path := certified(t, "-h -n server.example,10.0.0.1 -V -5m:+1h")
	keys, err := Load(dir)
	if err != nil || len(keys) != 1 || keys[0].Path != path || keys[0].Type() != gossh.KeyAlgoED25519 || keys[0].Problem != nil {
		t.Fatalf("keys %v, error %v", keys, err)
	}
	cert, ok := keys[0].Certificate.PublicKey().(*gossh.Certificate)
	if !ok || cert.KeyId != "server" || cert.Type() != gossh.CertAlgoED25519v01 {
		t.Errorf("the certificate is %+v", cert)
	}
}

// With a certificate that cannot be used the server keeps the identity that it has without one.
func TestCertificateProblems(t *testing.T) {
	const valid = "-h -n server.example"
	for _, tt := range []struct {
		name, args string
		damage     func(path string) error // of the certificate
		want       string
	}{
		{"expired", valid + " -V -2h:-1h", nil, "is not valid: ssh: cert has expired"},
		{"not yet valid", valid + " -V +1h:+2h", nil, "is not valid: ssh: cert is not yet valid"},
		{"user", "-n guest", nil, "is a user certificate"},
		{"no name", "-h", nil, "is a certificate without a host name"},
		{"option", valid + " -O critical:only@example.com=x", nil, "is not valid: ssh: unsupported critical option"},
		{"another key's", valid, func(path string) error {
			_, other := certified(t, valid)
			return os.Rename(other+"-cert.pub", path)
		}, "is the certificate of another key"},
		{"signature", valid, corrupt, "is not valid: ssh: certificate signature does not verify"},
		{"key", valid, func(path string) error {
			return os.WriteFile(path, gossh.MarshalAuthorizedKey(create(t, privateDir(t), "ed25519").Signer.PublicKey()), 0o600)
		}, "is not a certificate"},
		{"empty", valid, func(path string) error { return os.Truncate(path, 0) }, "is not a certificate"},
		{"large", valid, func(path string) error { return os.Truncate(path, maxSize+1) }, "is larger than 64 KiB"},
		{"writable", valid, func(path string) error { return os.Chmod(path, 0o666) }, "others can write it (mode 0666)"},
		{"dangling", valid, func(path string) error { return errors.Join(os.Remove(path), os.Symlink("nowhere", path)) }, "no such file"},
		{"directory", valid, func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, "is a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, path := certified(t, tt.args)
			if tt.damage != nil {
				if err := tt.damage(path + "-cert.pub"); err != nil {
					t.Fatal(err)
				}
			}
			keys, created, err := LoadOrCreate(dir)
			if err != nil || created || len(keys) != 1 || keys[0].Path != path || keys[0].Certificate != nil {
				t.Fatalf("keys %v, created %v, error %v; want the plain key", keys, created, err)
			}
			problem := keys[0].Problem
			if problem == nil || !strings.HasPrefix(problem.Error(), "host key "+path+"-cert.pub: "+tt.want) || problem.Hint() == "" {
				t.Errorf("the problem is %v, want %q and a hint", problem, tt.want)
			}
		})
	}
}

// corrupt changes the signature of a certificate.
func corrupt(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	public, _, _, _, err := gossh.ParseAuthorizedKey(data)
	if err != nil {
		return err
	}
	cert := public.(*gossh.Certificate)
	cert.Signature.Blob[0] ^= 1
	return os.WriteFile(path, gossh.MarshalAuthorizedKey(cert), 0o600)
}

// The hint for a certificate that cannot be used makes one that can.
func TestCertificateHint(t *testing.T) {
	dir, path := certified(t, "-n guest")
	keys, err := Load(dir)
	if err != nil || keys[0].Problem == nil {
		t.Fatalf("keys %v, error %v", keys, err)
	}
	hint, _ := strings.CutPrefix(keys[0].Problem.Hint(), "run: ssh-keygen ")
	args := strings.NewReplacer("CA", filepath.Join(dir, "ca"), "NAME", "server", "HOST", "server.example").Replace(hint)
	keygen(t, t.TempDir(), strings.Fields(args)...)
	if keys, err := Load(dir); err != nil || keys[0].Certificate == nil || keys[0].Path != path {
		t.Errorf("after the fix: keys %v, error %v", keys, err)
	}
}
