//go:build !windows

package authorizedkeys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const mallory = 1666

// Another local user's directory, file or symbolic link lets nobody in. A change of the owner takes effect at once.
func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change the owner of a file")
	}
	key := newKey(t)
	w := watch(t, map[string]string{"ada": text(key)})
	w.check(key, true)
	for !w.d.files["ada"].seen.Unchanged(w.d.root, "ada") { // until a login does not read the file
		<-time.After(10 * time.Millisecond)
		w.check(key, true)
	}
	for path, want := range map[string]string{
		w.dir:                       w.dir + ": belongs to uid 1666",
		filepath.Join(w.dir, "ada"): "ada: belongs to uid 1666",
	} {
		w.check(key, true)
		must(t, os.Chown(path, mallory, -1))
		w.check(key, false, want)
		must(t, os.Chown(path, 0, -1))
	}
	w.check(key, true)

	must(t, os.Chmod(w.dir, 0o777|fs.ModeSticky)) // in which mallory makes a link
	must(t, errors.Join(os.Symlink("ada", filepath.Join(w.dir, "eve")), os.Lchown(filepath.Join(w.dir, "eve"), mallory, -1)))
	w.check(key, true)
	d := Open(w.dir, Options{})
	if _, err := d.Authorize("eve", here, key); err == nil {
		t.Error("a link of mallory's lets eve in with the key of ada")
	}
	if _, err := d.Authorize("ada", here, key); err != nil {
		t.Error(err)
	}
}

// The owner of the parent directory cannot make root create or delete files elsewhere.
func TestEditStaysInTheDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change the owner of a file")
	}
	parent, other := t.TempDir(), newDir(t, map[string]string{"ada": edLine + "\n"})
	link := filepath.Join(parent, "authorized_keys.d")
	must(t, errors.Join(os.Symlink(other, link), os.Lchown(link, mallory, -1), os.Chown(parent, mallory, -1)))
	for _, err := range []error{Remove(link, "ada"), Add(link, "bob", []byte(edLine))} {
		if err == nil || !strings.Contains(err.Error(), "is a symbolic link that belongs to uid 1666") {
			t.Errorf("error %v", err)
		}
	}
	if entries, err := os.ReadDir(other); err != nil || len(entries) != 1 {
		t.Errorf("the other directory holds %v, %v", entries, err)
	}

	// Root still edits the files of the server's user, who can use them afterwards.
	must(t, errors.Join(os.Remove(link), os.Mkdir(link, 0o700), os.Chown(link, mallory, -1), Add(link, "bob", []byte(edLine))))
	for _, name := range []string{"bob", ".lock"} {
		info, err := os.Stat(filepath.Join(link, name))
		must(t, err)
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != mallory {
			t.Errorf("%s belongs to %d", name, uid)
		}
	}
	must(t, Remove(link, "bob"))
}
