//go:build !windows

package watchfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Users of these tests.
const (
	service = 1234 // runs the server
	mallory = 1666
)

// needRoot skips a test that gives files to other users.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can change the owner of a file")
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// own gives path to a user, and the mode, which for a symbolic link is ignored.
func own(path string, uid int, mode fs.FileMode) error {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSymlink {
		return os.Lchown(path, uid, -1)
	}
	return errors.Join(os.Chown(path, uid, -1), os.Chmod(path, mode))
}

// edits create, replace and delete a file "ada" in a directory, or fail.
var edits = map[string]func(dir string) error{
	"directory": func(dir string) error {
		e, err := EditDir(dir, true)
		if err != nil {
			return err
		}
		defer e.Close()
		dirInfo, err := e.root.Stat(".")
		return errors.Join(err, e.Create("ada", "1"), e.Replace("ada", "2", dirInfo), e.Remove("ada"))
	},
	"file": func(dir string) error {
		e, name, err := EditFile(filepath.Join(dir, "ada"))
		if err != nil {
			return err
		}
		defer e.Close()
		return errors.Join(e.Create(name, "1"), e.Remove(name))
	},
}

// The owner of a directory cannot make root edit files elsewhere. The links of root and of the user who edits work.
func TestEditLinks(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct {
		name    string
		parent  int    // the owner of the directory with the link
		link    int    // the owner of the link
		path    string // what is edited
		refused bool
	}{
		{"root's link", 0, 0, "link", false},
		{"a link of the directory's owner", service, service, "link", true},
		{"a parent that is a link", service, service, "link/sub", true},
		{"a missing directory behind a link", service, service, "link/new", true},
		{"root's link to a parent", 0, 0, "link/sub", false},
		{"a missing directory behind root's link", 0, 0, "link/new", false},
		{"no link", service, service, "real/sub", false},
		{"no link, and missing directories", service, service, "real/newer/new", false},
	} {
		for kind, edit := range edits {
			if kind == "file" && strings.HasSuffix(tt.path, "new") {
				continue // makes no directories
			}
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				parent, elsewhere := t.TempDir(), t.TempDir()
				must(t, os.Mkdir(filepath.Join(elsewhere, "sub"), 0o755), os.WriteFile(filepath.Join(elsewhere, "bob"), nil, 0o600),
					os.MkdirAll(filepath.Join(parent, "real/sub"), 0o755), os.Symlink(elsewhere, filepath.Join(parent, "link")),
					own(filepath.Join(parent, "link"), tt.link, 0), os.Chown(parent, tt.parent, -1), os.Chown(filepath.Join(parent, "real"), tt.parent, -1))
				err := edit(filepath.Join(parent, tt.path))
				if refused := err != nil; refused != tt.refused || refused && !strings.Contains(err.Error(), "/link: is a symbolic link that belongs to ") {
					t.Errorf("error %v", err)
				}
				if left := names(t, elsewhere); tt.refused && len(left) != 2 || tt.refused && locked(elsewhere) {
					t.Errorf("the other directory holds %q", left)
				}
			})
		}
	}
}

// locked reports whether anybody has ever edited a file in dir.
func locked(dir string) bool {
	found, _ := filepath.Glob(filepath.Join(dir, ".*lock"))
	inSub, _ := filepath.Glob(filepath.Join(dir, "sub", ".*lock"))
	return len(found)+len(inSub) > 0
}

// Root's link in a directory of others is followed if it has been there for a while: others can exchange links there.
func TestEditFollowsOldLink(t *testing.T) {
	needRoot(t)
	parent, elsewhere := t.TempDir(), t.TempDir()
	link := filepath.Join(parent, "link")
	must(t, os.Symlink(elsewhere, link), os.Chown(parent, service, -1))
	err := edits["directory"](link)
	if err == nil || !strings.HasSuffix(err.Error(), "is a symbolic link that was changed just now") {
		t.Errorf("a new link: %v", err)
	}
	for {
		info, err := os.Lstat(link)
		must(t, err)
		if time.Since(changed(info)) > racy {
			break
		}
		<-time.After(racy / 10)
	}
	must(t, edits["directory"](link))
}

// An exchange of a directory by a link after the check does not lead elsewhere either.
func TestEditRace(t *testing.T) {
	needRoot(t)
	parent, elsewhere := t.TempDir(), t.TempDir()
	at := func(name string) string { return filepath.Join(parent, name) }
	must(t, os.Mkdir(filepath.Join(elsewhere, "sub"), 0o755), os.MkdirAll(at("dir/sub"), 0o755), os.Symlink(elsewhere, at("link")),
		os.Lchown(at("link"), service, -1), os.Chown(parent, service, -1), os.Chown(at("dir"), service, -1))
	var attacker sync.WaitGroup
	done := make(chan struct{})
	attacker.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			_ = errors.Join(os.Rename(at("dir"), at("aside")), os.Rename(at("link"), at("dir")),
				os.Rename(at("dir"), at("link")), os.Rename(at("aside"), at("dir")))
		}
	})
	edited, failed := 0, 0
	for i := 0; i < 1000 || edited == 0 || failed == 0; i++ {
		if e, err := EditDir(at("dir/sub"), false); err == nil {
			edited++
			e.Close()
		} else {
			failed++
		}
	}
	close(done)
	attacker.Wait()
	if locked(elsewhere) {
		t.Error("the other directory was edited")
	}
}

// The lock belongs to the owner of the file, who must be able to edit it later, and nobody else can open it.
func TestEditLock(t *testing.T) {
	needRoot(t)
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	path := filepath.Join(dir, "ssh-passwords")
	lock := filepath.Join(dir, ".ssh-passwords.lock")
	must(t, os.WriteFile(path, nil, 0o644), os.Chown(path, service, service))
	for range 2 {
		must(t, replace(path, "x", stat(t, path)))
		if info := stat(t, lock); owner(info) != service || info.Mode() != 0o600 {
			t.Errorf("the lock belongs to %d and has the mode %v", owner(info), info.Mode())
		}
	}
	// In a sticky directory, anybody could have made it before.
	must(t, os.Chown(lock, mallory, -1))
	if err := replace(path, "x", stat(t, path)); err == nil || !strings.HasPrefix(err.Error(), lock+": belongs to uid 1666") {
		t.Errorf("error %v", err)
	}
	for name, plant := range map[string]func() error{
		"link": func() error { return os.Symlink("elsewhere", lock) },
		"pipe": func() error { return syscall.Mkfifo(lock, 0o600) },
	} {
		must(t, os.Remove(lock), plant())
		if err := replace(path, "x", stat(t, path)); err == nil || !strings.HasPrefix(err.Error(), lock+": is ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// What a crashed edit left behind is deleted, and nothing else.
func TestClean(t *testing.T) {
	for _, kind := range []string{"directory", "file", "missing file", "link"} {
		dir := t.TempDir()
		path, temp := dir, filepath.Join(dir, ".tmp")
		if kind != "directory" {
			path, temp = filepath.Join(dir, "keys"), filepath.Join(dir, ".keys.tmp")
		}
		others := []string{".ada.tmp", ".keys.tmp2", ".tmp2", "ada.tmp", "tmp"}
		for _, name := range others {
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		}
		if kind == "file" || kind == "link" {
			must(t, os.WriteFile(path, nil, 0o600))
			others = append(others, "keys")
		}
		if kind == "link" {
			link := filepath.Join(t.TempDir(), "link")
			must(t, os.Symlink(path, link))
			path = link
		}
		must(t, Clean(path))
		if locked(dir) {
			t.Errorf("%s: was locked although there is nothing to delete", kind)
		}
		must(t, os.WriteFile(temp, []byte("secret"), 0o600), Clean(path))
		if _, err := os.Lstat(temp); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the temporary file is left: %v", kind, err)
		}
		if left := names(t, dir); len(left) != len(others) {
			t.Errorf("%s: left are %q, want %q", kind, left, others)
		}
	}
	must(t, Clean(filepath.Join(t.TempDir(), "missing")))
}

// An edit goes on where one has crashed, and the cleaning does not disturb those that run.
func TestCleanDuringEdits(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, ".tmp"), []byte("secret"), 0o600))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				e, err := EditDir(dir, false)
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(e.Create("ada", "1"), e.Remove("ada")); err != nil {
					t.Error(err)
				}
				e.Close()
				if err := Clean(dir); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
}
