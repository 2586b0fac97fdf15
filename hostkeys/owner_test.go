//go:build !windows

package hostkeys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const mallory = 1666

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can change the owner of a file")
	}
}

// The keys and the directory belong to root or to the user of the server. A sticky directory is excused.
func TestLoadOwners(t *testing.T) {
	needRoot(t)
	dir := privateDir(t)
	path := create(t, dir, "ed25519").Path
	for _, of := range []string{path, dir} {
		if err := os.Chown(of, mallory, -1); err != nil {
			t.Fatal(err)
		}
		_, err := Load(dir)
		if err == nil || !strings.HasPrefix(err.Error(), "host key "+of+": belongs to uid 1666, and must belong to root ") {
			t.Errorf("error %v", err)
		}
		if err := os.Chown(of, 0, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if keys, err := Load(dir); err != nil || len(keys) != 1 {
		t.Errorf("from a sticky directory: %d keys, %v", len(keys), err)
	}
}

// Root can add a key to the directory of the server's user, who can read it. A symbolic link of that user's leads nowhere.
func TestCreateForAnotherUser(t *testing.T) {
	needRoot(t)
	parent, other := t.TempDir(), privateDir(t)
	dir, link := filepath.Join(parent, "hostkeys"), filepath.Join(parent, "link")
	err := errors.Join(os.Mkdir(dir, 0o700), os.Symlink(other, link),
		os.Lchown(link, mallory, -1), os.Chown(dir, mallory, mallory), os.Chown(parent, mallory, -1))
	if err != nil {
		t.Fatal(err)
	}
	for _, into := range []string{link, filepath.Join(link, "new")} {
		if _, err := Create(into, "ed25519"); err == nil || !strings.Contains(err.Error(), link+": is a symbolic link that belongs to uid 1666") {
			t.Errorf("error %v", err)
		}
	}
	if entries, err := os.ReadDir(other); err != nil || len(entries) != 0 {
		t.Errorf("the other directory holds %v, %v", entries, err)
	}
	key := create(t, dir, "ecdsa")
	if info, err := os.Stat(key.Path); err != nil || info.Sys().(*syscall.Stat_t).Uid != mallory {
		t.Errorf("the key belongs to another user: %v", err)
	}
	if err := os.Rename(key.Path, filepath.Join(dir, "id_test")); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, "ecdsa"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second key of a type: %v", err)
	}
}
