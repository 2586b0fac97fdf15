//go:build !windows

package passwords

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Cheap hashes of the password "open sesame".
const (
	cheapArgon  = "$argon2id$v=19$m=64,t=2,p=2$c2FsdHlzYWx0$Srv5DdH6HxNT2DXxDnCm8Ik9LmVYZvjS"
	cheapBcrypt = "$2a$05$xPRrsjxjRfmJrBBwesey6ewbvlWf/JbNU1ix9OjPX2UTtTWDeiHzi"
	cheapSHA512 = "$6$rounds=1000$MwKBBpE0OrZRT4p1$RkgkySpw3UJ1MPOPj7ysN1pC2zEApiD/ijW0tBgnFBxEN8Zff04CrHhdqR7/8m9/czBz/pQ2EoUmKpC44S/Q8/"
)

// longAgo is a modification time that is not racy.
var longAgo = time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC)

// newFile writes a password file that was modified long ago.
func newFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh-passwords")
	rewrite(t, path, content, longAgo)
	return path
}

func rewrite(t *testing.T, path, content string, modified time.Time) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
	must(t, os.Chtimes(path, modified, modified))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string, opts Options) *File {
	t.Helper()
	f, err := Open(path, opts)
	must(t, err)
	return f
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// wantError checks the text and the hint of an error, and that they hold no secret.
func wantError(t *testing.T, err error, want, wantFix string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %v, want an *Error", err)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error %q, want %q in it", err, want)
	}
	if !strings.Contains(e.Hint(), wantFix) || (wantFix == "") != (e.Hint() == "") {
		t.Errorf("hint %q, want %q", e.Hint(), wantFix)
	}
	if strings.Contains(err.Error()+e.Hint(), "hunter2") {
		t.Errorf("error %q quotes a secret", err)
	}
}

func TestError(t *testing.T) {
	cause := fmt.Errorf("read: %w", fs.ErrPermission)
	for _, test := range []struct {
		err  *Error
		want string
	}{
		{&Error{Path: "ssh-passwords", Line: 3, Err: cause}, "ssh-passwords:3: read: permission denied"},
		{&Error{Path: "ssh-passwords", Err: cause}, "ssh-passwords: read: permission denied"},
	} {
		if test.err.Error() != test.want {
			t.Errorf("error %q, want %q", test.err, test.want)
		}
		if !errors.Is(test.err, fs.ErrPermission) {
			t.Errorf("%q does not wrap its cause", test.err)
		}
	}
}

func TestHashHint(t *testing.T) {
	for path, want := range map[string]string{
		DefaultPath:     "run: foyer user hash",
		"/etc/foyer/pw": "run: foyer user hash --passwords /etc/foyer/pw",
		"it's here":     `run: foyer user hash --passwords 'it'\''s here'`,
		"-rf":           "run: foyer user hash --passwords '-rf'",
	} {
		if got := hint(path, "hash"); got != want {
			t.Errorf("hint for %q: %s, want %s", path, got, want)
		}
	}
}

func TestGenerate(t *testing.T) {
	first, err := Generate()
	must(t, err)
	second, err := Generate()
	must(t, err)
	if first == second {
		t.Errorf("%q twice", first)
	}
	// The list has a few words with a hyphen of their own, such as "yo-yo".
	if n := strings.Count(first, "-"); n < 4 || len(first) > maxPassword || strings.ContainsAny(first, " :\n") {
		t.Errorf("generated %q, want five words with hyphens in between", first)
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ssh-passwords")
	if err := Add(path, "ada", "open sesame", true); err != nil {
		panic(err)
	}
	f, err := Open(path, Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(f.Users())
	fmt.Println(f.Verify("ada", "open sesame"), f.Verify("ada", "open barley"))
	// Output:
	// [{ada argon2id}]
	// true false
}
