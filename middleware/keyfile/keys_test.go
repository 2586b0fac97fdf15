package keyfile

import (
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

const edLine = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

// rsaLine is a key, made up, whose modulus has that many bits, a multiple of 8.
func rsaLine(bits int) string {
	modulus := append([]byte{0}, slices.Repeat([]byte{0xff}, bits/8)...)
	blob := gossh.Marshal(struct{ N, E, M []byte }{[]byte("ssh-rsa"), []byte{1, 0, 1}, modulus})
	return "ssh-rsa " + base64.StdEncoding.EncodeToString(blob)
}

func TestParseKey(t *testing.T) {
	for _, tt := range []struct{ text, comment, want string }{ // want is part of the error
		{edLine, "", ""},
		{edLine + " ada at  home", "ada at  home", ""},
		{rsaLine(2048), "", ""},
		{rsaLine(8192), "", ""},
		{rsaLine(2040), "", "of 2040 bits"},
		{rsaLine(8200), "", "of 8200 bits"},
		{"rsa-sha2-256" + strings.TrimPrefix(rsaLine(2048), "ssh-rsa"), "", "of type ssh-rsa and says"},
		{"restrict " + edLine, "", "not a public key"},
		{"", "", "not a public key"},
		{"ssh-ed25519 AAAA", "", "damaged"},
		{"ssh-ed25519 not/base64", "", "not base64"},
	} {
		_, comment, err := ParseKey(tt.text)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: error %v, want %q", tt.text, err, tt.want)
		}
		if comment != tt.comment {
			t.Errorf("%.40q: comment %q", tt.text, comment)
		}
	}
}

// opaque is a key that says what it is and shows nothing.
type opaque string

func (o opaque) Type() string                        { return string(o) }
func (opaque) Marshal() []byte                       { return nil }
func (opaque) Verify([]byte, *gossh.Signature) error { return nil }

func TestStrong(t *testing.T) {
	for kind, strong := range map[string]bool{
		"ssh-ed25519": true, "sk-ssh-ed25519@openssh.com": true, "sk-ecdsa-sha2-nistp256@openssh.com": true,
		"ecdsa-sha2-nistp256": true, "ecdsa-sha2-nistp384": true, "ecdsa-sha2-nistp521": true,
		"ssh-rsa": false, "ssh-dss": false, "ssh-ed25519-cert-v01@openssh.com": false, "ssh-new@example.com": false, "": false,
	} {
		if err := Strong(opaque(kind)); (err == nil) != strong {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if err := Strong(&gossh.Certificate{Key: opaque("ssh-ed25519")}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a certificate: %v", err)
	}
}

func TestLookRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		syscall.Mkfifo(at("pipe"), 0o600),
		os.WriteFile(at("huge"), nil, 0o600), os.Truncate(at("huge"), MaxFile+1),
		os.WriteFile(at("open file"), nil, 0o600), os.Chmod(at("open file"), 0o622),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ path, want, fix string }{
		{dir, "is a directory", ""},
		{at("pipe"), "is a named pipe", ""},
		{os.DevNull, "is not a regular file", ""},
		{at("huge"), "is larger than 1 MiB", ""},
		{at("open file"), "others can write it (mode 0622)", "run: chmod go-w '" + at("open file") + "'"},
	} {
		data, version, err := Look(Disk{}, tt.path, tt.path)
		told, ok := errors.AsType[*Error](err)
		if !ok || told.Error() != tt.path+": "+tt.want || told.Hint() != tt.fix || data != "" {
			t.Errorf("%s: %q, %v", tt.path, data, err)
		}
		if _, again, _ := Look(Disk{}, tt.path, tt.path); version.Stands(Disk{}, tt.path) || !again.Same(version) {
			t.Errorf("%s: the same trouble is news", tt.path)
		}
	}
}

// TestQuote has a shell read back what was quoted for it.
func TestQuote(t *testing.T) {
	for path, want := range map[string]string{
		"": "''", "keys.d/ada": "keys.d/ada", "it's/$(reboot)": `'it'\''s/$(reboot)'`, "-rf": "'-rf'", "a b\n": "'a b\n'",
	} {
		if got := quote(path); got != want {
			t.Errorf("quote(%q) is %q, want %q", path, got, want)
		}
		if read, err := exec.Command("sh", "-c", "printf %s "+quote(path)).Output(); path != "-rf" && (err != nil || string(read) != path) {
			t.Errorf("a shell reads %q, %v; want %q", read, err, path)
		}
	}
}
