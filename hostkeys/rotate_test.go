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

// states returns the fingerprints of the keys in dir by state. There is one key of each state at most.
func states(t *testing.T, dir string) map[State]string {
	t.Helper()
	keys, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[State]string{}
	for _, key := range keys {
		found[key.State] = key.Fingerprint()
	}
	return found
}

func rotate(t *testing.T, dir, keyType string) Key {
	t.Helper()
	keys, err := Rotate(dir, keyType)
	if err != nil {
		t.Fatal(err)
	}
	return keys[0]
}

// A rotation: the next key, the promotion, the retirement. Nothing else is in the directory at any step.
func TestRotation(t *testing.T) {
	for _, keyType := range []string{"ed25519", "rsa", "ecdsa"} {
		t.Run(keyType, func(t *testing.T) {
			t.Parallel()
			dir := privateDir(t)
			old := create(t, dir, keyType)
			name := filepath.Base(old.Path)
			next := rotate(t, dir, keyType)
			if next.State != Next || next.Path != old.Path+".next" {
				t.Errorf("the next key is %s, %s", next.Path, next.State)
			}
			wantStates(t, dir, []string{name, name + ".next"}, map[State]string{InUse: old.Fingerprint(), Next: next.Fingerprint()})

			promoted, err := Promote(dir, keyType)
			if err != nil || len(promoted) != 1 || promoted[0].Fingerprint() != next.Fingerprint() {
				t.Errorf("promoted %v, %v", promoted, err)
			}
			wantStates(t, dir, []string{name, name + ".previous"}, map[State]string{InUse: next.Fingerprint(), Previous: old.Fingerprint()})

			retired, err := Retire(dir, "")
			if err != nil || len(retired) != 1 || retired[0].Fingerprint() != old.Fingerprint() {
				t.Errorf("retired %v, %v", retired, err)
			}
			wantStates(t, dir, []string{name}, map[State]string{InUse: next.Fingerprint()})
		})
	}
}

func wantStates(t *testing.T, dir string, files []string, want map[State]string) {
	t.Helper()
	if got := names(t, dir); !slices.Equal(got, files) {
		t.Errorf("the directory holds %q, want %q", got, files)
	}
	if got := states(t, dir); len(got) != len(want) || got[InUse] != want[InUse] || got[Next] != want[Next] || got[Previous] != want[Previous] {
		t.Errorf("the keys are %v, want %v", got, want)
	}
}

// What does not fit into the order of a rotation is refused, and the hint says what does.
func TestRotationRefuses(t *testing.T) {
	dir := privateDir(t)
	create(t, dir, "ed25519")
	for _, step := range []struct {
		change        func(dir, keyType string) ([]Key, error)
		keyType, want string // and the hint
	}{
		{Promote, "", "there is no next host key; run: foyer hostkey rotate TYPE"},
		{Retire, "", "there is no previous host key; run: foyer hostkey promote"},
		{Rotate, "rsa", "there is no host key of type ssh-rsa; run: foyer hostkey add rsa"},
		{Rotate, "dsa", `host key type "dsa" is not one of ed25519, rsa, ecdsa`},
		{Rotate, "ed25519", ""},
		{Rotate, "ed25519", "there is a next host key of type ssh-ed25519 already; run: foyer hostkey promote ed25519"},
		{Promote, "rsa", "there is no next host key; run: foyer hostkey rotate TYPE"},
		{Promote, "ed25519", ""},
		{Rotate, "ed25519", ""},
		{Promote, "ed25519", "there is a previous host key of type ssh-ed25519; run: foyer hostkey retire"},
		{Retire, "rsa", "there is no previous host key; run: foyer hostkey promote"},
		{Retire, "ed25519", ""},
		{Promote, "", ""},
	} {
		if _, err := step.change(dir, step.keyType); withHint(err) != step.want {
			t.Errorf("%s: %q, want %q", step.keyType, withHint(err), step.want)
		}
	}
}

func withHint(err error) string {
	var hint interface{ Hint() string }
	switch {
	case err == nil:
		return ""
	case errors.As(err, &hint):
		return err.Error() + "; " + hint.Hint()
	}
	return err.Error()
}

// A promotion is interrupted before each of its steps. The old key stays in use until the last one, and the same command
// completes the promotion, with the certificates.
func TestPromoteInterrupted(t *testing.T) {
	steps := func(key string) []func() error {
		return []func() error{
			func() error { return os.Link(key, key+".previous") },
			func() error { return os.Rename(key+"-cert.pub", key+".previous-cert.pub") },
			func() error { return os.Rename(key+".next-cert.pub", key+"-cert.pub") },
			func() error { return os.Rename(key+".next", key) },
		}
	}
	for n := range len(steps("")) + 1 {
		dir, path := certified(t, "-h -n server.example")
		old, next := states(t, dir)[InUse], rotate(t, dir, "ed25519")
		keygen(t, dir, "-q", "-s", "ca", "-I", "server", "-h", "-n", "server.example", next.Path)
		for _, step := range steps(path)[:n] {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		keys, err := Load(dir)
		if err != nil {
			t.Fatalf("after %d steps: %v", n, err)
		}
		if n < len(steps("")) {
			if keys[0].Fingerprint() != old || (keys[len(keys)-1].Problem != nil) != (n > 0) {
				t.Errorf("after %d steps: %v", n, keys)
			}
			if _, err := Retire(dir, ""); n > 0 && (err == nil || !strings.Contains(withHint(err), "run: foyer hostkey promote")) {
				t.Errorf("after %d steps the old key could be retired: %v", n, err)
			}
			if _, err := Promote(dir, ""); err != nil {
				t.Errorf("after %d steps: %v", n, err)
			}
		}
		name := filepath.Base(path)
		wantStates(t, dir, []string{"ca", "ca.pub", name, name + "-cert.pub", name + ".previous", name + ".previous-cert.pub"},
			map[State]string{InUse: next.Fingerprint(), Previous: old})
		if keys, err := Load(dir); err != nil || keys[0].Certificate == nil || keys[0].Problem != nil || keys[1].Problem != nil {
			t.Errorf("after %d steps and a promotion: %v, %v", n, keys, err)
		}
	}
}

// A certificate of the old key is not left beside the new one, and goes with the old one.
func TestPromoteWithoutNextCertificate(t *testing.T) {
	dir, path := certified(t, "-h -n server.example")
	rotate(t, dir, "ed25519")
	if _, err := Promote(dir, ""); err != nil {
		t.Fatal(err)
	}
	if keys, err := Load(dir); err != nil || keys[0].Certificate != nil || keys[0].Problem != nil {
		t.Errorf("keys %v, %v", keys, err)
	}
	if _, err := Retire(dir, ""); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"ca", "ca.pub", filepath.Base(path)}) {
		t.Errorf("the directory holds %q", got)
	}
}

// The keys of a rotation have the mode and the owner of the first one, in the directory of another user too.
func TestRotationKeepsAccess(t *testing.T) {
	dir := privateDir(t)
	path := create(t, dir, "ed25519").Path
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, mallory, mallory); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	rotate(t, dir, "ed25519")
	if _, err := Promote(dir, ""); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, path + ".previous"} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != before.Mode() || owner(info) != owner(before) {
			t.Errorf("%s has the mode %v, %v", path, info.Mode(), err)
		}
	}
}

// A key that does not belong to the one in use prevents the start, as any key does that cannot be used.
func TestLoadRefusesStates(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"is the next key of PATH, which is missing; restore that, or run: mv PATH.next PATH": os.Remove,
		"has the type ssh-ed25519, and PATH has ecdsa-sha2-nistp256; run: mv PATH.next ~/":   ecdsaInstead,
		"is empty; restore it from a backup, or run: mv PATH.next ~/":                        func(path string) error { return os.Truncate(path+".next", 0) },
		"others can read or write it (mode 0644); run: chmod 600 PATH.next":                  func(path string) error { return os.Chmod(path+".next", 0o644) },
		"is a dangling symbolic link; restore it from a backup, or run: mv PATH.next ~/":     dangle,
	} {
		dir := privateDir(t)
		path := create(t, dir, "ed25519").Path
		rotate(t, dir, "ed25519")
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll("host key PATH.next: "+name, "PATH", path)
		if _, _, err := LoadOrCreate(dir); withHint(err) != want {
			t.Errorf("%q, want %q", withHint(err), want)
		}
	}
}

func ecdsaInstead(path string) error {
	_, text, err := newKey("", "ecdsa")
	return errors.Join(err, os.WriteFile(path, []byte(text), 0o600))
}

func dangle(path string) error {
	return errors.Join(os.Remove(path+".next"), os.Symlink("nowhere", path+".next"))
}

// The records are those of ssh-keygen -r, without SHA-1.
func TestSSHFP(t *testing.T) {
	dir := privateDir(t)
	for _, keyType := range []string{"ed25519", "rsa", "ecdsa"} {
		key := create(t, dir, keyType)
		put(t, key.Path+".pub", []byte(keygen(t, dir, "-y", "-f", key.Path)))
		var want string
		for line := range strings.Lines(keygen(t, dir, "-r", "server.example", "-f", key.Path+".pub")) {
			if fields := strings.Fields(line); fields[4] == "2" {
				want = strings.TrimSpace(line)
			}
		}
		if got := key.SSHFP("server.example"); got != want || want == "" {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func owner(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Uid }
