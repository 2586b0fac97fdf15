//go:build !windows

package hostkeys

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestCreate(t *testing.T) {
	tests := []struct {
		keyType  string
		wantType string
		listed   string // what ssh-keygen -l shows
		wantBits int
	}{
		{"ed25519", "ssh-ed25519", "256 FINGERPRINT foyer (ED25519)", 256},
		{"rsa", "ssh-rsa", "3072 FINGERPRINT foyer (RSA)", 3072},
		{"ecdsa", "ecdsa-sha2-nistp256", "256 FINGERPRINT foyer (ECDSA)", 256},
	}
	for _, tt := range tests {
		t.Run(tt.keyType, func(t *testing.T) {
			t.Parallel()
			dir := privateDir(t)
			key := create(t, dir, tt.keyType)
			name := "ssh_host_" + tt.keyType + "_key"
			if key.Path != filepath.Join(dir, name) {
				t.Errorf("path is %s", key.Path)
			}
			if key.Type() != tt.wantType || key.Bits() != tt.wantBits {
				t.Errorf("created %s of %d bits", key.Type(), key.Bits())
			}
			if got := names(t, dir); !slices.Equal(got, []string{name}) {
				t.Errorf("the directory holds %q", got)
			}
			keys, err := Load(dir)
			if err != nil || len(keys) != 1 || keys[0].Fingerprint() != key.Fingerprint() {
				t.Errorf("loaded %v, error %v; want the created key", keys, err)
			}
			want := strings.Replace(tt.listed, "FINGERPRINT", key.Fingerprint(), 1)
			if got := strings.TrimSpace(keygen(t, dir, "-l", "-f", key.Path)); got != want {
				t.Errorf("ssh-keygen says %q, want %q", got, want)
			}
		})
	}
}

// TestCreateModes changes the umask of the process, so it is not parallel.
func TestCreateModes(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		parent := privateDir(t)
		old := syscall.Umask(umask)
		key, err := Create(filepath.Join(parent, "a", "b"), "ed25519")
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]fs.FileMode{
			key.Path:                        0o600,
			filepath.Join(parent, "a", "b"): fs.ModeDir | 0o700,
			filepath.Join(parent, "a"):      fs.ModeDir | 0o700,
		} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != want {
				t.Errorf("umask %03o: mode of %s is %v, want %v", umask, path, info.Mode(), want)
			}
		}
	}
}

func TestCreateNeverReplaces(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(path string) error
	}{
		{"file", func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) }},
		{"empty file", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		{"directory", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"dangling symlink", func(path string) error { return os.Symlink("nowhere", path) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := privateDir(t)
			path := filepath.Join(dir, "ssh_host_ed25519_key")
			if err := tt.prepare(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Create(dir, "ed25519")
			wantError(t, err, fs.ErrExist, path, "")

			after, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
				t.Error("the existing file has changed")
			}
			if got := names(t, dir); len(got) != 1 {
				t.Errorf("the directory holds %q", got)
			}
		})
	}
}

func TestCreateTwice(t *testing.T) {
	dir := privateDir(t)
	key := create(t, dir, "ed25519")
	_, err := Create(dir, "ed25519")
	wantError(t, err, fs.ErrExist, key.Path, "")
}

func TestCreateBesideSameType(t *testing.T) {
	dir := privateDir(t)
	other := filepath.Join(dir, "id_ecdsa")
	if err := os.Rename(create(t, dir, "ecdsa").Path, other); err != nil {
		t.Fatal(err)
	}
	_, err := Create(dir, "ecdsa")
	wantError(t, err, fs.ErrExist, other, "")
	if want := "host key " + other + ": has the type ecdsa-sha2-nistp256 already, and a server has one key of a type"; err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"id_ecdsa"}) {
		t.Errorf("the directory holds %q", got)
	}
}

func TestCreateUnknownType(t *testing.T) {
	dir := filepath.Join(privateDir(t), "keys")
	for _, keyType := range []string{"", "dsa", "RSA", "../../etc/x"} {
		_, err := Create(dir, keyType)
		if err == nil || !strings.HasSuffix(err.Error(), " is not one of ed25519, rsa, ecdsa") {
			t.Errorf("%q: error is %v, want one that lists the types", keyType, err)
		}
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was created: %v", err)
	}
}

func TestCreateInReadOnlyDir(t *testing.T) {
	if asNobody(t) {
		return
	}
	dir := privateDir(t)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, _, err := LoadOrCreate(dir)
	wantError(t, err, fs.ErrPermission, dir, ownDir(dir))

	below := filepath.Join(dir, "below")
	_, err = Create(below, "ed25519")
	wantError(t, err, fs.ErrPermission, below, ownDir(below))
}
