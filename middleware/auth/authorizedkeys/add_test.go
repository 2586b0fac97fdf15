//go:build !windows

package authorizedkeys

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/sshtest"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// TestAddCreates changes the umask of the process, so it is not parallel.
func TestAddCreates(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(newDir(t, nil), "a", "keys")
	must(t, Add(dir, "ada", []byte("\ufeff# from the laptop\r\n  "+edLine+" ada@laptop \r\n")))
	path := filepath.Join(dir, "ada")
	if got, want := read(t, path), edLine+" ada@laptop\n"; got != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
	for path, want := range map[string]fs.FileMode{path: 0o600, dir: fs.ModeDir | 0o700} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode() != want {
			t.Errorf("mode of %s is %v, want %v", path, info.Mode(), want)
		}
	}
}

func TestAddAppends(t *testing.T) {
	dir := newDir(t, map[string]string{"ada": "# keys\nnonsense\n" + strings.TrimSpace(text(newKey(t)))})
	before := read(t, filepath.Join(dir, "ada"))
	must(t, Add(dir, "ada", []byte("restrict "+edLine)))
	if got, want := read(t, filepath.Join(dir, "ada")), before+"\nrestrict "+edLine+"\n"; got != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
}

func TestAddErrors(t *testing.T) {
	dir := newDir(t, map[string]string{
		"ada":  "command=\"ls\" " + edLine + "\n",
		"open": "",
		"full": "#" + strings.Repeat("x", keyfile.MaxFile-10),
		"eve":  "",
		"wide": "\xff\xfes\x00s\x00h\x00",
	})
	must(t, os.Chmod(filepath.Join(dir, "open"), 0o622))
	must(t, os.Symlink("eve", filepath.Join(dir, "link")))
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	for _, tt := range []struct{ user, key, want, hint string }{
		{"bob", "", "not a public key", ""},
		{"bob", "hello\n", "not a public key", ""},
		{"bob", edLine + "\n" + skLine, "several lines", ""},
		{"bob", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "a private key", ".pub"},
		{"bob", "-----BEGIN RSA PRIVATE KEY-----\nb3Bl\n", "a private key", ".pub"},
		{"bob", "PuTTY-User-Key-File-3: ssh-ed25519\n", "a private key", "run: puttygen FILE -L | foyer user add NAME --key -"},
		{"bob", "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "RFC 4716", "run: ssh-keygen -i -f FILE"},
		{"bob", "-----BEGIN PUBLIC KEY-----\nAAAA\n", "PKCS #8", "run: ssh-keygen -i -m PKCS8 -f FILE"},
		{"bob", "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n", "PEM", "run: ssh-keygen -i -m PEM -f FILE"},
		{"bob", edLine + "\n" + pemKey(t), "several lines", ""},
		{"bob", pemKey(t) + edLine, "PKCS #8", "run: ssh-keygen -i -m PKCS8 -f FILE"},
		{"bob", "-----BEGIN CERTIFICATE-----\nAAAA\n", "not a public key", ""},
		{"bob", "\xff\xfes\x00s\x00h\x00", "is in UTF-16", "run: iconv "},
		{"bob", "# a key\r" + edLine + "\r", "end in CR", "run: tr "},
		{"wide", edLine, "wide: is in UTF-16", "run: iconv "},
		{"bob", `command="ls" ` + edLine, "cannot be honoured", ""},
		{"bob", shortRSALine, "1024 bits", ""},
		{"bob", strings.Repeat("x", keyfile.MaxFile+1), "too long", ""},
		{"ada", edLine, "ada: the user already has this key: file already exists", ""},
		{"open", edLine, "others can write it", "run: chmod 600 " + filepath.Join(dir, "open")},
		{"full", edLine, "larger than 1 MiB", ""},
		{"link", edLine, "not a regular file", ""},
		{"dir", edLine, "is a directory", ""},
		{"bob\x00", edLine, "control character", ""},
		{strings.Repeat("b", 256), edLine, "needs a file name of 256 bytes", ""},
		{"", edLine, "empty", ""},
	} {
		err := Add(dir, tt.user, []byte(tt.key))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %.30q: error %v, want %q", tt.user, tt.key, err, tt.want)
		}
		if hinter, ok := errors.AsType[interface {
			error
			Hint() string
		}](err); tt.hint != "" && (!ok || !strings.Contains(hinter.Hint(), tt.hint)) {
			t.Errorf("%s, %.30q: no hint %q", tt.user, tt.key, tt.hint)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "bob")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was created: %v", err)
	}
	if err := Add(dir, "ada", []byte(edLine)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v is not fs.ErrExist", err)
	}
	must(t, os.Chmod(dir, 0o777))
	if err := Add(dir, "bob", []byte(edLine)); err == nil || !strings.Contains(err.Error(), dir+": others can write") {
		t.Errorf("error %v", err)
	}
}

// Keys in PEM, as openssl and ssh-keygen -e write them, are converted. Of those in RFC 4716 the hint does that.
func TestAddConverts(t *testing.T) {
	for _, tt := range []struct{ keyType, bits, format string }{
		{"rsa", "2048", "PEM"}, {"rsa", "2048", "PKCS8"}, {"ecdsa", "384", "PKCS8"},
		{"rsa", "2048", "RFC4716"}, {"ed25519", "256", "RFC4716"},
	} {
		t.Run(tt.keyType+" "+tt.format, func(t *testing.T) {
			key := filepath.Join(t.TempDir(), "id")
			keygen(t, "-q", "-t", tt.keyType, "-b", tt.bits, "-N", "", "-f", key)
			want := strings.Fields(read(t, key+".pub"))
			data := keygen(t, "-e", "-m", tt.format, "-f", key+".pub")
			dir := newDir(t, nil)
			err := Add(dir, "ada", data)
			if tt.format == "RFC4716" {
				hinter, _ := errors.AsType[*keyfile.Error](err)
				put(t, dir, ".other", string(data), longAgo)
				hint := strings.Fields(strings.TrimPrefix(hinter.Hint(), "run: ssh-keygen "))
				hint[len(hint)-1] = filepath.Join(dir, ".other") // FILE
				err = Add(dir, "ada", keygen(t, hint...))
			}
			must(t, err)
			if got := strings.Fields(read(t, filepath.Join(dir, "ada"))); got[0] != want[0] || got[1] != want[1] {
				t.Errorf("the file holds %q, want %q", got, want)
			}
		})
	}
}

// ssh-keygen converts no Ed25519 key.
func TestAddConvertsEd25519(t *testing.T) {
	dir := newDir(t, nil)
	must(t, Add(dir, "ada", []byte(pemKey(t))))
	if got := read(t, filepath.Join(dir, "ada")); got != edLine+"\n" {
		t.Errorf("the file holds %q", got)
	}
}

// pemKey returns the key of edLine in PEM.
func pemKey(t *testing.T) string {
	t.Helper()
	public, _, _, _, err := gossh.ParseAuthorizedKey([]byte(edLine))
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(public.(gossh.CryptoPublicKey).CryptoPublicKey())
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func keygen(t *testing.T, args ...string) []byte {
	t.Helper()
	_, err := exec.LookPath("ssh-keygen")
	sshtest.Need(t, "ssh-keygen", "apt-get install openssh-client", err == nil)
	out, err := exec.Command("ssh-keygen", args...).Output()
	must(t, err)
	return out
}

// Add refuses a key that would not be used because there are too many.
func TestAddOneTooMany(t *testing.T) {
	dir := newDir(t, map[string]string{"ada": "# keys\nnonsense\n" + strings.Repeat(edLine+"\n", maxKeys-1)})
	must(t, Add(dir, "ada", []byte(text(newKey(t)))))
	if err := Add(dir, "ada", []byte(text(newKey(t)))); err == nil || !strings.Contains(err.Error(), "more than 10000 keys") {
		t.Errorf("error %v", err)
	}
}

// Keys that are added concurrently are all in the file.
func TestAddConcurrently(t *testing.T) {
	dir := newDir(t, nil)
	var all sync.WaitGroup
	for range 10 {
		key := text(newKey(t))
		all.Go(func() {
			if err := Add(dir, "ada", []byte(key)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if lines, problems := parse("ada", read(t, filepath.Join(dir, "ada"))); len(lines) != 10 || len(problems) != 0 {
		t.Errorf("%d lines, problems %v", len(lines), problems)
	}
}

// If the lock is a symbolic link, it is refused, and its target is not created.
func TestLockIsNoLink(t *testing.T) {
	dir := newDir(t, map[string]string{"ada": edLine + "\n"})
	other := filepath.Join(t.TempDir(), "nologin")
	must(t, os.Symlink(other, filepath.Join(dir, ".lock")))
	for _, err := range []error{Add(dir, "bob", []byte(edLine)), Remove(dir, "ada")} {
		if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(dir, ".lock")+": ") {
			t.Errorf("error %v", err)
		}
	}
	if _, err := os.Lstat(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the target was created: %v", err)
	}
}

// Every user who can have a password can have keys, in a file that is always in the directory.
func TestNamesAreEncoded(t *testing.T) {
	dir := filepath.Join(newDir(t, nil), "keys")
	d := Open(dir, Options{Warn: func(err error) { t.Error(err) }})
	files := map[string]string{ // by user
		`DOMAIN\alice`: "DOMAIN%5Calice", "a/b": "a%2Fb", "../ada": "%2E.%2Fada", ".lock": "%2Elock", "ada~": "ada%7E", "ada%2F": "ada%252F", "ada": "ada",
	}
	for user, file := range files {
		key := newKey(t)
		must(t, Add(dir, user, []byte(text(key))))
		if got := read(t, filepath.Join(dir, file)); got != text(key) {
			t.Errorf("the file of %s holds %q", user, got)
		}
		for other := range files {
			if _, err := d.Authorize(other, here, key); (err == nil) != (other == user) {
				t.Errorf("%s with the key of %s: %v", other, user, err)
			}
		}
	}
	users, err := d.Users()
	must(t, err)
	if len(users) != len(files) {
		t.Errorf("users %v", users)
	}
	for _, user := range users {
		if files[user.Name] == "" || len(user.Keys) != 1 || len(user.Problems) != 0 || !d.Has(user.Name) {
			t.Errorf("user %q has the keys %v and the problems %v", user.Name, user.Keys, user.Problems)
		}
		must(t, Remove(dir, user.Name))
	}
	for _, path := range []string{dir, filepath.Dir(dir)} {
		entries, err := os.ReadDir(path)
		must(t, err)
		if len(entries) != 1 { // the lock, or the directory itself
			t.Errorf("%s holds %v", path, entries)
		}
	}
}
