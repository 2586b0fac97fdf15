//go:build !windows

package authorizedkeys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestRemove(t *testing.T) {
	dir := newDir(t, map[string]string{"ada": edLine + "\n", "bob": edLine + "\n"})
	d := Open(dir, Options{})
	must(t, Remove(dir, "ada"))
	if d.Has("ada") || !d.Has("bob") {
		t.Error("ada was not removed, or bob was")
	}
	for _, tt := range []struct{ dir, user string }{
		{dir, "ada"}, {dir, "../bob"}, {filepath.Join(dir, "bob"), "../bob"}, {dir, ""}, {dir, ".lock"}, {dir + "/none", "ada"},
	} {
		if err := Remove(tt.dir, tt.user); err == nil {
			t.Errorf("%s: %q was removed", tt.dir, tt.user)
		}
	}
	if err := Remove(dir+"/none", "ada"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("from a missing directory: %v", err)
	}
}

// The target of a symbolic link stays.
func TestRemoveLink(t *testing.T) {
	dir := newDir(t, nil)
	other := filepath.Join(t.TempDir(), "keys")
	must(t, os.WriteFile(other, []byte(edLine), 0o600))
	must(t, os.Symlink(other, filepath.Join(dir, "ada")))
	must(t, Remove(dir, "ada"))
	if _, err := os.Lstat(filepath.Join(dir, "ada")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link still exists: %v", err)
	}
	if read(t, other) != edLine {
		t.Error("the target has changed")
	}
}
