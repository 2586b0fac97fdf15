//go:build !windows

package hostkeys

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// keygen runs the real ssh-keygen in dir and returns its output.
func keygen(t *testing.T, dir string, args ...string) string {
	t.Helper()
	bin, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// privateDir returns a directory with the mode that LoadOrCreate uses; the mode of t.TempDir depends on the umask.
func privateDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// asNobody runs the test again as an unprivileged user if this one is root, whom permissions do not restrict. It reports
// whether it did.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	const nobody = 65534
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "test"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "test"), "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Dir, cmd.Env = dir, []string{"TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	return true
}

// put writes a file with mode 600.
func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// create calls Create for tests of something else.
func create(t *testing.T, dir, keyType string) Key {
	t.Helper()
	key, err := Create(dir, keyType)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// names returns the names in dir, except that of the lock.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		if entry.Name() != ".lock" {
			all = append(all, entry.Name())
		}
	}
	return all
}

// reason is the text of an error that package watchfile creates.
type reason string

func (r reason) Error() string { return string(r) }

// wantError asserts that err is a kind, or has the text of a reason, and its path and hint.
func wantError(t *testing.T, err, kind error, path, fix string) {
	t.Helper()
	hostKeyErr, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error is %v, want an *Error", err)
	}
	if _, ok := kind.(reason); ok {
		if !strings.Contains(err.Error(), kind.Error()) {
			t.Errorf("error is %v, want %q in it", err, kind)
		}
	} else if !errors.Is(err, kind) {
		t.Errorf("error is %v, want %v", err, kind)
	}
	if hostKeyErr.Path != path {
		t.Errorf("path is %s, want %s", hostKeyErr.Path, path)
	}
	if hostKeyErr.Hint() != fix {
		t.Errorf("hint is %q, want %q", hostKeyErr.Hint(), fix)
	}
}

func TestLoadFormats(t *testing.T) {
	tests := []struct {
		name     string
		args     string
		wantType string
		wantBits int
	}{
		{"ed25519", "-t ed25519", "ssh-ed25519", 256},
		{"rsa", "-t rsa -b 2048", "ssh-rsa", 2048},
		{"rsa PKCS1", "-t rsa -b 2048 -m PEM", "ssh-rsa", 2048},
		{"rsa PKCS8", "-t rsa -b 2048 -m PKCS8", "ssh-rsa", 2048},
		{"ecdsa 256", "-t ecdsa -b 256", "ecdsa-sha2-nistp256", 256},
		{"ecdsa 384", "-t ecdsa -b 384", "ecdsa-sha2-nistp384", 384},
		{"ecdsa 521", "-t ecdsa -b 521", "ecdsa-sha2-nistp521", 521},
		{"ecdsa SEC1", "-t ecdsa -b 521 -m PEM", "ecdsa-sha2-nistp521", 521},
		{"ecdsa PKCS8", "-t ecdsa -b 256 -m PKCS8", "ecdsa-sha2-nistp256", 256},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := privateDir(t)
			keygen(t, dir, append(strings.Fields(tt.args), "-q", "-N", "", "-f", "ssh_host_x_key")...)
			keys, err := Load(dir)
			if err != nil || len(keys) != 1 {
				t.Fatalf("%d keys, error %v; want one key", len(keys), err)
			}
			key := keys[0]
			if key.Path != filepath.Join(dir, "ssh_host_x_key") {
				t.Errorf("path is %s", key.Path)
			}
			if key.Type() != tt.wantType || key.Bits() != tt.wantBits {
				t.Errorf("key is %s of %d bits, want %s of %d", key.Type(), key.Bits(), tt.wantType, tt.wantBits)
			}
			listed := strings.Fields(keygen(t, dir, "-l", "-f", "ssh_host_x_key"))
			if listed[1] != key.Fingerprint() {
				t.Errorf("fingerprint is %s, ssh-keygen says %s", key.Fingerprint(), listed[1])
			}
		})
	}
}

func TestLoadSortsByName(t *testing.T) {
	dir := privateDir(t)
	ed := create(t, dir, "ed25519")
	ec := create(t, dir, "ecdsa")
	moved := filepath.Join(dir, "id_ed25519")
	if err := os.Rename(ed.Path, moved); err != nil {
		t.Fatal(err)
	}
	keys, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, key := range keys {
		paths = append(paths, key.Path)
	}
	if want := []string{moved, ec.Path}; !slices.Equal(paths, want) {
		t.Errorf("paths are %q, want %q", paths, want)
	}
}

func TestLoadFollowsSymlinks(t *testing.T) {
	dir, elsewhere := privateDir(t), privateDir(t)
	want := create(t, elsewhere, "ed25519")
	if err := os.Symlink(want.Path, filepath.Join(dir, "id_ed25519")); err != nil {
		t.Fatal(err)
	}
	keys, err := Load(dir)
	if err != nil || len(keys) != 1 || keys[0].Fingerprint() != want.Fingerprint() {
		t.Errorf("keys are %v, error %v; want the linked one", keys, err)
	}
}

func TestLoadIgnoresOtherFiles(t *testing.T) {
	dir := privateDir(t)
	for _, name := range []string{
		"hostkeys.go", "id_test.go", "id_rsa.pub", "ssh_host_rsa_key.pub", "ssh_host_rsa_key-cert.pub",
		"ssh_host_key", "ssh_host_rsa_key.old", ".id_rsa", ".ssh_host_ed25519_key4711", "README.md", "known_hosts",
	} {
		put(t, filepath.Join(dir, name), []byte("not a key"))
	}
	keys, err := Load(dir)
	if keys != nil || err != nil {
		t.Errorf("keys are %v, error %v; want neither", keys, err)
	}
}

func TestLoadMissingDir(t *testing.T) {
	dir := filepath.Join(privateDir(t), "missing")
	keys, err := Load(dir)
	if keys != nil || err != nil {
		t.Errorf("keys are %v, error %v; want neither", keys, err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was created: %v", err)
	}
}

func TestSameTypeTwice(t *testing.T) {
	dir := privateDir(t)
	second := create(t, dir, "ed25519")
	data, err := os.ReadFile(create(t, privateDir(t), "ed25519").Path)
	if err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(dir, "id_ed25519")
	put(t, first, data)

	_, err = Load(dir)
	if err == nil || !strings.Contains(err.Error(), first) || !strings.Contains(err.Error(), second.Path) {
		t.Errorf("error is %v, want one that names both files", err)
	}
	if _, created, err := LoadOrCreate(dir); created || err == nil {
		t.Errorf("LoadOrCreate: created %v, error %v; want an error", created, err)
	}
}

// badDirs are directories that no key can be loaded from or created in.
var badDirs = []struct {
	name    string
	prepare func(dir string) error
	kind    error
	fix     string // DIR stands for the directory, PARENT for its parent
}{
	{"world-writable", func(dir string) error { return mkdirMode(dir, 0o702) }, reason("others can write it (mode 0702)"), "run: chmod go-w DIR"},
	{"file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, errNotDir, "use: --hostkeys PARENT"},
	{"dangling", func(dir string) error { return os.Symlink("nowhere", dir) }, errDangling, "run: rm DIR"},
}

// mkdirMode creates a directory with that mode, whatever the umask is.
func mkdirMode(dir string, mode fs.FileMode) error {
	return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode))
}

func TestBadDirs(t *testing.T) {
	for _, tt := range badDirs {
		t.Run(tt.name, func(t *testing.T) {
			parent := privateDir(t)
			dir := filepath.Join(parent, "keys")
			if err := tt.prepare(dir); err != nil {
				t.Fatal(err)
			}
			fix := strings.NewReplacer("DIR", dir, "PARENT", parent).Replace(tt.fix)
			_, err := Load(dir)
			wantError(t, err, tt.kind, dir, fix)
			_, _, err = LoadOrCreate(dir)
			wantError(t, err, tt.kind, dir, fix)
			_, err = Create(dir, "ed25519")
			wantError(t, err, tt.kind, dir, fix)
		})
	}
}

func TestUnlistableDir(t *testing.T) {
	if asNobody(t) {
		return
	}
	dir := privateDir(t)
	create(t, dir, "ed25519")
	if err := os.Chmod(dir, 0o300); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })

	_, _, err := LoadOrCreate(dir)
	wantError(t, err, fs.ErrPermission, dir, ownDir(dir))
}

func TestLoadOrCreateIsIdempotent(t *testing.T) {
	dir := filepath.Join(privateDir(t), "deep", "keys")
	first, created, err := LoadOrCreate(dir)
	if err != nil || !created || len(first) != 1 {
		t.Fatalf("first: %d keys, created %v, error %v", len(first), created, err)
	}
	if first[0].Type() != "ssh-ed25519" || first[0].Path != filepath.Join(dir, "ssh_host_ed25519_key") {
		t.Errorf("created %s in %s", first[0].Type(), first[0].Path)
	}
	second, created, err := LoadOrCreate(dir)
	if err != nil || created || len(second) != 1 {
		t.Fatalf("second: %d keys, created %v, error %v", len(second), created, err)
	}
	if first[0].Fingerprint() != second[0].Fingerprint() {
		t.Error("the second call returned another key")
	}
}

func TestLoadOrCreateKeepsOtherTypes(t *testing.T) {
	dir := privateDir(t)
	want := create(t, dir, "ecdsa")
	keys, created, err := LoadOrCreate(dir)
	if err != nil || created || len(keys) != 1 || keys[0].Fingerprint() != want.Fingerprint() {
		t.Errorf("%d keys, created %v, error %v; want the ECDSA key alone", len(keys), created, err)
	}
}

func TestLoadOrCreateRace(t *testing.T) {
	var (
		dir    = filepath.Join(privateDir(t), "keys")
		start  = make(chan struct{})
		wg     sync.WaitGroup
		seen   [32]string // the fingerprint of each server
		makers atomic.Int32
	)
	for i := range seen {
		wg.Go(func() {
			<-start
			keys, created, err := LoadOrCreate(dir)
			if err != nil || len(keys) != 1 {
				t.Errorf("%d keys, error %v; want one key", len(keys), err)
				return
			}
			if created {
				makers.Add(1)
			}
			seen[i] = keys[0].Fingerprint()
		})
	}
	close(start)
	wg.Wait()

	if n := makers.Load(); n != 1 {
		t.Errorf("%d servers created a key, want one", n)
	}
	if distinct := slices.Compact(seen[:]); len(distinct) != 1 {
		t.Errorf("the servers have different keys: %q", distinct)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"ssh_host_ed25519_key"}) {
		t.Errorf("the directory holds %q", got)
	}
}

func TestLoadWinner(t *testing.T) {
	dir := privateDir(t)
	if _, _, err := loadWinner(dir, fs.ErrExist); !errors.Is(err, fs.ErrExist) {
		t.Errorf("without keys: error is %v, want that of the lost race", err)
	}
	want := create(t, dir, "ed25519")
	keys, created, err := loadWinner(dir, fs.ErrExist)
	if err != nil || created || len(keys) != 1 || keys[0].Fingerprint() != want.Fingerprint() {
		t.Errorf("%d keys, created %v, error %v; want the winner's", len(keys), created, err)
	}
}
