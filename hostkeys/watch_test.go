//go:build !windows

package hostkeys

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// watched returns the keys in use in dir as a server watches them, and the warnings.
func watched(t *testing.T, dir string) (current func() string, warnings *[]string) {
	t.Helper()
	warnings = new([]string)
	use := func(keys []Key) (string, error) {
		if len(keys) > 2 {
			return "", errors.New("too many for this test")
		}
		var text string
		for _, key := range keys {
			text += key.Fingerprint() + " " + key.State.String() + "\n"
			if key.Certificate != nil {
				text += "certified\n"
			}
		}
		return text, nil
	}
	w := Watch(dir, "first", use, func(err error) { *warnings = append(*warnings, err.Error()) })
	return w.Current, warnings
}

// Each step of a rotation is noticed, and a certificate that is replaced in its place.
func TestWatch(t *testing.T) {
	dir, path := certified(t, "-h -n server.example")
	current, warnings := watched(t, dir)
	old := states(t, dir)[InUse]
	if got := current(); got != old+" in use\ncertified\n" {
		t.Errorf("at first: %q", got)
	}
	next := rotate(t, dir, "ed25519").Fingerprint()
	if got := current(); got != old+" in use\ncertified\n"+next+" next\n" {
		t.Errorf("after rotate: %q", got)
	}
	if err := os.Truncate(path+"-cert.pub", 0); err != nil {
		t.Fatal(err)
	}
	if got := current(); got != old+" in use\n"+next+" next\n" {
		t.Errorf("with a bad certificate: %q", got)
	}
	if _, err := Promote(dir, ""); err != nil {
		t.Fatal(err)
	}
	if got := current(); got != next+" in use\n"+old+" previous\n" {
		t.Errorf("after promote: %q", got)
	}
	if len(*warnings) > 0 {
		t.Errorf("warned of %q", *warnings)
	}
}

// Keys that cannot be used change nothing, and each problem is told once. What repairs them is noticed.
func TestWatchKeepsLastGood(t *testing.T) {
	dir := privateDir(t)
	key := create(t, dir, "ed25519")
	current, warnings := watched(t, dir)
	good := current()
	hidden := filepath.Join(t.TempDir(), "hidden")
	for _, damage := range []func() error{
		func() error { return os.Chmod(key.Path, 0o644) },
		func() error { return os.Rename(key.Path, hidden) },
		func() error { return os.WriteFile(key.Path+".next", nil, 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got := current(); got != good {
				t.Errorf("the keys are %q", got)
			}
		}
	}
	var told []string
	for _, warning := range *warnings {
		told = append(told, warning[strings.LastIndex(warning, ": ")+2:])
	}
	want := []string{"others can read or write it (mode 0644)", "has no host key any more", "is empty"}
	if !slices.Equal(told, want) {
		t.Errorf("warned of %q, want %q", told, want)
	}
	err := errors.Join(os.Remove(key.Path+".next"), os.Rename(hidden, key.Path), os.Chmod(key.Path, 0o600))
	create(t, dir, "ecdsa")
	if got := current(); err != nil || got == good || !strings.Contains(got, key.Fingerprint()+" in use") {
		t.Errorf("after the repair: %q, %v", got, err)
	}
}

// While nothing changes, no key is read. The clock of the test begins in 2000, when the files would be of the future.
func TestWatchReadsOnce(t *testing.T) {
	dir := privateDir(t)
	create(t, dir, "ed25519")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(100 * 365 * 24 * time.Hour)
		reads := 0
		w := Watch(dir, 0, func([]Key) (int, error) { reads++; return reads, nil }, nil)
		for range 3 {
			if got := w.Current(); got != 1 {
				t.Errorf("the keys were read %d times", got)
			}
		}
	})
}
