package watchfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestFailure(t *testing.T) {
	if err := Failure("x", nil); err != nil {
		t.Errorf("nil became %v", err)
	}
	denied := Failure("my keys", &fs.PathError{Op: "open", Path: "/tmp/.x", Err: syscall.EACCES})
	known := &Error{Path: "a", Line: 3, Err: errors.New("bad")}
	for _, tt := range []struct {
		err        error
		text, hint string
	}{
		{Failure("/etc/shadow", syscall.EACCES), "/etc/shadow: permission denied", "to see who may use it, run: ls -ld /etc/shadow"},
		{denied, "my keys: permission denied", "run: chmod u+rwX ."}, // there is no such file
		{Failure("my keys/ada", syscall.EACCES), "my keys/ada: permission denied",
			fmt.Sprintf("run: sudo install -d -m 700 -o %d -g %d 'my keys'", os.Geteuid(), os.Getegid())},
		{Failure("errors.go", syscall.EPERM), "errors.go: operation not permitted",
			fmt.Sprintf("run: sudo chown %d:%d errors.go", os.Geteuid(), os.Getegid())},
		{Failure("/etc/foyer passwords", syscall.EPERM), "/etc/foyer passwords: operation not permitted",
			"to see who may use it, run: ls -ld '/etc/foyer passwords'"},
		{Failure("b", known), "a:3: bad", ""},
	} {
		var e *Error
		if !errors.As(tt.err, &e) || e.Error() != tt.text || e.Hint() != tt.hint {
			t.Errorf("%v, hint %q", tt.err, e.Hint())
		}
	}
	if !errors.Is(denied, fs.ErrPermission) {
		t.Error("the error does not wrap its cause")
	}
}

// A shell reads the quoted path as one word.
func TestQuote(t *testing.T) {
	for path, want := range map[string]string{
		"": "''", "keys.d/ada": "keys.d/ada", "it's/$(reboot)": `'it'\''s/$(reboot)'`, "-rf": "'-rf'", "a b\n": "'a b\n'",
		"/srv/my keys/id_rsa": "'/srv/my keys/id_rsa'", "~/id_*;true": "'~/id_*;true'", "/var/lib/foyer-2.0/key": "/var/lib/foyer-2.0/key",
	} {
		if got := Quote(path); got != want {
			t.Errorf("Quote(%q) is %q, want %q", path, got, want)
		}
		if read, err := exec.Command("sh", "-c", "printf %s "+Quote(path)).Output(); path != "-rf" && (err != nil || string(read) != path) {
			t.Errorf("a shell reads %q, %v; want %q", read, err, path)
		}
	}
}
