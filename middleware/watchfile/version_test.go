//go:build !windows

package watchfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// limit is the maximum size of the files in these tests.
const limit = 1 << 20

func TestReadVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	longAgo := time.Now().Add(-time.Hour)
	put := func(text string, changed time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, changed, changed)); err != nil {
			t.Fatal(err)
		}
	}
	if _, missing, err := ReadVersion(nil, path, path, limit); !errors.Is(err, fs.ErrNotExist) || missing.Unchanged(nil, path) {
		t.Errorf("a missing file: %v", err)
	}
	put("one", longAgo)
	data, one, err := ReadVersion(nil, path, path, limit)
	if err != nil || data != "one" {
		t.Fatalf("read %q, %v", data, err)
	}
	if one.Unchanged(nil, path) {
		t.Error("a file that was just changed is reported as unchanged")
	}
	one.at = one.at.Add(racy) // as if it had been read later
	if !one.Unchanged(nil, path) || one.Same(Version{}) {
		t.Error("an unchanged file is reported as changed")
	}
	put("two", longAgo.Add(time.Second))
	if one.Unchanged(nil, path) {
		t.Error("a changed file is reported as unchanged")
	}
	for { // until the file system's clock has moved on
		put("two", longAgo)
		if !changed(stat(t, path)).Equal(changed(one.info)) {
			break
		}
	}
	if one.Unchanged(nil, path) {
		t.Error("another version with the same size and modification time is reported as unchanged")
	}
	put("one", time.Now())
	_, again, err := ReadVersion(nil, path, path, limit)
	if err != nil || again.Unchanged(nil, path) || !again.Same(one) {
		t.Errorf("a file that was just written is reported as unchanged, or as another version: %v", err)
	}
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// changing is a file that somebody appends to while it is read.
type changing struct{ *os.File }

func (c changing) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	_, _ = c.File.Write([]byte("more")) // at its end, where it is read next
	return n, err
}

func TestReadRefusesChanging(t *testing.T) {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if data, _, err := read(changing{f}, limit, func(fs.FileInfo) error { return nil }); !errors.Is(err, errChanged) || data != "" {
		t.Errorf("read %q, %v", data, err)
	}
}

// No name leads out of a root.
func TestReadVersionInRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keys"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if data, _, err := ReadVersion(root, "keys", filepath.Join(dir, "keys"), limit); data != "x" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	if _, _, err := ReadVersion(root, "../"+filepath.Base(dir)+"/keys", "out", limit); err == nil {
		t.Error("a name led out of the root")
	}
}

func TestReadVersionRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		syscall.Mkfifo(at("pipe"), 0o600),
		os.WriteFile(at("huge"), nil, 0o600), os.Truncate(at("huge"), limit+1),
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
		{at("open file"), "others can write it (mode 0622)", "run: chmod 600 '" + at("open file") + "'"},
	} {
		data, version, err := ReadVersion(nil, tt.path, tt.path, limit)
		problem, ok := errors.AsType[*Error](err)
		if !ok || problem.Error() != tt.path+": "+tt.want || problem.Hint() != tt.fix || data != "" {
			t.Errorf("%s: %q, %v", tt.path, data, err)
		}
		if _, again, _ := ReadVersion(nil, tt.path, tt.path, limit); version.Unchanged(nil, tt.path) || !again.Same(version) {
			t.Errorf("%s: the same problem is a new version", tt.path)
		}
	}
}
