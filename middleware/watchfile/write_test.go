//go:build !windows

package watchfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// replace replaces a file as an edit does.
func replace(path, data string, old fs.FileInfo) error {
	e, name, err := EditFile(path)
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Replace(name, data, old)
}

// names returns the names in a directory, except those of locks.
func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".lock") {
			names = append(names, entry.Name())
		}
	}
	return names
}

// wantFile checks the content and the mode of a file, and that its directory holds nothing else.
func wantFile(t *testing.T, path, want string) fs.FileInfo {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || string(data) != want {
		t.Errorf("%s is %q, %v; want %q", path, data, err, want)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v, error %v; want 0600", info.Mode(), err)
	}
	if names := names(t, filepath.Dir(path)); len(names) != 1 {
		t.Errorf("the directory holds %v", names)
	}
	return info
}

// TestWrite changes the umask of the process, so it is not parallel.
func TestWrite(t *testing.T) {
	for _, umask := range []int{0, 0o077} {
		defer syscall.Umask(syscall.Umask(umask))
		path := filepath.Join(t.TempDir(), "keys")
		if err := Create(path, "one"); err != nil {
			t.Fatal(err)
		}
		old := wantFile(t, path, "one")
		if err := Create(path, "two"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("created twice: %v", err)
		}
		wantFile(t, path, "one")
		if err := errors.Join(os.Chmod(path, 0o644), replace(path, "two", old)); err != nil {
			t.Fatal(err)
		}
		if os.SameFile(old, wantFile(t, path, "two")) {
			t.Error("the file was changed in place")
		}
	}
}

func TestCreateNeverReplaces(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"directory":     func(path string) error { return os.Mkdir(path, 0o700) },
		"dangling link": func(path string) error { return os.Symlink("nowhere", path) },
		"named pipe":    func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(path)
		err := Create(path, "one")
		if after, _ := os.Lstat(path); !errors.Is(err, fs.ErrExist) || !os.SameFile(before, after) {
			t.Errorf("%s: error %v, and %v was %v", name, err, after, before)
		}
	}
}

func TestCreateConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	var created atomic.Pointer[string]
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			text := fmt.Sprint("file ", i)
			switch err := Create(path, text); {
			case err == nil && created.Swap(&text) != nil:
				t.Error("two calls succeeded")
			case err != nil && !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if created.Load() == nil {
		t.Fatal("no call succeeded")
	}
	wantFile(t, path, *created.Load())
}

// After an edit by root, the server must still be able to read the file, which may belong to its group only.
func TestReplaceKeepsOwnerGroupAndMode(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can change the owner of a file")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "keys")
	if err := errors.Join(Create(path, "one"), os.Chown(path, 1234, 5678), os.Chmod(path, 0o640), os.Chown(dir, 12, 34), os.Chmod(dir, 0o750)); err != nil {
		t.Fatal(err)
	}
	want := func(path string, uid, gid uint32) {
		t.Helper()
		info := stat(t, path)
		if s := info.Sys().(*syscall.Stat_t); s.Uid != uid || s.Gid != gid || info.Mode() != 0o640 {
			t.Errorf("%d:%d %v, want %d:%d and 0640", s.Uid, s.Gid, info.Mode(), uid, gid)
		}
	}
	if err := replace(path, "two", stat(t, path)); err != nil {
		t.Fatal(err)
	}
	want(path, 1234, 5678)
	if err := replace(path+"2", "new", stat(t, dir)); err != nil {
		t.Fatal(err)
	}
	want(path+"2", 12, 34)
}

// A failure leaves neither a file nor a temporary file.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keys")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := replace(path, "one", info); err == nil {
		t.Error("a directory was replaced")
	}
	if names := names(t, dir); len(names) != 1 {
		t.Errorf("the directory holds %v", names)
	}
	if err := Create(filepath.Join(dir, "missing", "keys"), "one"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a missing directory: %v", err)
	}
}
