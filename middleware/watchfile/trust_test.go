//go:build !windows

package watchfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// trustAs is Trust for the user uid. It opens path first, as a reader does.
func trustAs(t *testing.T, uid int, path string, forbidden fs.FileMode) error {
	t.Helper()
	return Failure(path, (&walk{uid: uid}).trust(path, stat(t, path), forbidden))
}

// Everything on the path to a file belongs to root or to the user of the server, and nobody else can write to it.
func TestTrust(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct {
		name, path string // of what has another owner and mode
		uid        int
		mode       fs.FileMode
		want       string // how the error starts, with DIR for the directory; "" for none
	}{
		{"root's file", "dir/file", 0, 0o644, ""},
		{"the user's file", "dir/file", service, 0o600, ""},
		{"another user's file", "dir/file", mallory, 0o600, "DIR/file: belongs to uid 1666, and must belong to root or to the user that foyer runs as"},
		{"a file that the world can write", "dir/file", 0, 0o646, "DIR/file: others can write it (mode 0646)"},
		{"a file that a group can write", "dir/file", service, 0o660, "DIR/file: others can write it (mode 0660)"},
		{"the user's directory", "dir", service, 0o755, ""},
		{"another user's directory", "dir", mallory, 0o755, "DIR/dir: belongs to uid 1666, and must"},
		{"a directory that others can write", "dir", 0, 0o777, "DIR/dir: others can write it (mode 0777)"},
		{"a sticky directory", "dir", 0, 0o777 | fs.ModeSticky, ""},
		{"another user's sticky directory", "dir", mallory, 0o777 | fs.ModeSticky, "DIR/dir: belongs to uid 1666, and must"},
		{"root's link", "link", 0, 0, ""},
		{"the user's link", "link", service, 0, ""},
		{"another user's link", "link", mallory, 0, "DIR/link: is a symbolic link that belongs to uid 1666, and must"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "dir"), 0o755),
				os.WriteFile(filepath.Join(dir, "dir/file"), nil, 0o644), os.Symlink("./dir/../dir", filepath.Join(dir, "link")),
				own(filepath.Join(dir, tt.path), tt.uid, tt.mode))
			path := filepath.Join(dir, "link", "file")
			want := strings.NewReplacer("DIR/file", path, "DIR", dir).Replace(tt.want)
			err := trustAs(t, service, path, OthersWrite)
			if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

// What the operator typed is in the error and in the hint.
func TestTrustRelativePath(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	t.Chdir(dir)
	must(t, os.Mkdir("sub", 0o755), os.WriteFile("ssh-passwords", nil, 0o600), os.Symlink("a", "b"), os.Symlink("b", "a"))
	for _, path := range []string{"ssh-passwords", "./ssh-passwords", "sub/../ssh-passwords", "../" + filepath.Base(dir) + "/ssh-passwords"} {
		if _, err := ReadFile(path, limit, OthersWrite); err != nil {
			t.Error(err)
		}
	}
	must(t, os.Chown("ssh-passwords", mallory, -1))
	_, err := ReadFile("ssh-passwords", limit, OthersWrite)
	problem, ok := errors.AsType[*Error](err)
	if !ok || problem.Path != "ssh-passwords" || !strings.HasSuffix(problem.Hint(), "run: sudo -u '#1666' foyer") {
		t.Errorf("error %v", err)
	}
	if _, err := (&walk{}).to("a"); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("a loop of links: %v", err)
	}
}

// A file that was opened is not trusted because of another one that is at its path by now.
func TestTrustChecksTheOpenFile(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	must(t, os.WriteFile(path, nil, 0o600), os.WriteFile(other, nil, 0o600))
	if err := Trust(path, stat(t, other), OthersWrite); !errors.Is(err, errChanged) {
		t.Errorf("error %v", err)
	}
}

// Kubernetes mounts a Secret as root's, for a group of the server.
func TestTrustKubernetes(t *testing.T) {
	needRoot(t)
	for _, mount := range []fs.FileMode{0o755, 0o777 | fs.ModeSticky, 0o777 | fs.ModeSticky | fs.ModeSetgid} {
		dir := t.TempDir()
		version, key := filepath.Join(dir, "..2026_11_29"), filepath.Join(dir, "key")
		must(t, os.Mkdir(version, 0o755), os.Chmod(version, 0o755|fs.ModeSetgid), os.Chmod(dir, mount),
			os.WriteFile(filepath.Join(version, "key"), nil, 0o600), os.Symlink("..2026_11_29", filepath.Join(dir, "..data")),
			os.Symlink("..data/key", key), os.Chown(filepath.Join(version, "key"), 0, service))
		for mode, want := range map[fs.FileMode]bool{0o440: true, 0o400: true, 0o644: true, 0o460: false, 0o442: false} {
			must(t, os.Chmod(key, mode))
			for _, forbidden := range []fs.FileMode{OthersWrite, OthersUse} {
				if err := trustAs(t, service, key, forbidden); (err == nil) != want {
					t.Errorf("in a mount of mode %v, a file of mode %v, with %04o forbidden: %v", mount, mode, forbidden, err)
				}
			}
		}
		must(t, os.Chown(key, service, -1), os.Chmod(key, 0o440))
		if err := trustAs(t, service, key, OthersUse); err == nil {
			t.Error("a private key of the server's user is used although its group can read it")
		}
	}
}
