package authorizedkeys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"foyer/middleware/auth/keyfile"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// TestAddMakes changes the umask of the process, so it is not parallel.
func TestAddMakes(t *testing.T) {
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
		{"bob", "PuTTY-User-Key-File-3: ssh-ed25519\n", "a private key", ".pub"},
		{"bob", `command="ls" ` + edLine, "cannot be honoured", ""},
		{"bob", shortRSALine, "1024 bits", ""},
		{"bob", strings.Repeat("x", keyfile.MaxFile+1), "too long", ""},
		{"ada", edLine, "ada: this key of the user: file already exists", ""},
		{"open", edLine, "others can write it", "run: chmod 600 " + filepath.Join(dir, "open")},
		{"full", edLine, "larger than 1 MiB", ""},
		{"link", edLine, "not a regular file", ""},
		{"dir", edLine, "not a regular file", ""},
		{"../bob", edLine, "slash", ""},
		{".bob", edLine, "hidden", ""},
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
		t.Errorf("a file was made: %v", err)
	}
	if err := Add(dir, "ada", []byte(edLine)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v is not fs.ErrExist", err)
	}
	must(t, os.Chmod(dir, 0o777))
	if err := Add(dir, "bob", []byte(edLine)); err == nil || !strings.Contains(err.Error(), dir+": others can write") {
		t.Errorf("error %v", err)
	}
}

// A key beyond those that are used is not added in vain.
func TestAddOneTooMany(t *testing.T) {
	dir := newDir(t, map[string]string{"ada": "# keys\nnonsense\n" + strings.Repeat(edLine+"\n", maxKeys-1)})
	must(t, Add(dir, "ada", []byte(text(newKey(t)))))
	if err := Add(dir, "ada", []byte(text(newKey(t)))); err == nil || !strings.Contains(err.Error(), "at most 10000 keys") {
		t.Errorf("error %v", err)
	}
}

// What several add at once is all there.
func TestAddAtOnce(t *testing.T) {
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

// A lock that is a link is no lock, and what it leads to is not made.
func TestAddWhereTheLockIsALink(t *testing.T) {
	dir := newDir(t, map[string]string{"ada": edLine + "\n"})
	other := filepath.Join(t.TempDir(), "nologin")
	must(t, os.Symlink(other, filepath.Join(dir, ".lock")))
	for _, err := range []error{Add(dir, "bob", []byte(edLine)), Remove(dir, "ada")} {
		if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(dir, ".lock")+": ") {
			t.Errorf("error %v", err)
		}
	}
	if _, err := os.Lstat(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what it leads to was made: %v", err)
	}
}
