package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLookAndStands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	longAgo := time.Now().Add(-time.Hour)
	put := func(text string, changed time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, changed, changed)); err != nil {
			t.Fatal(err)
		}
	}
	if _, missing, err := Look(Disk{}, path, path); !errors.Is(err, fs.ErrNotExist) || missing.Stands(Disk{}, path) {
		t.Errorf("a missing file: %v", err)
	}
	put("one", longAgo)
	data, one, err := Look(Disk{}, path, path)
	if err != nil || data != "one" {
		t.Fatalf("read %q, %v", data, err)
	}
	if !one.Stands(Disk{}, path) || one.Same(Version{}) {
		t.Error("an unchanged file does not stand")
	}
	put("two", longAgo.Add(time.Second))
	if one.Stands(Disk{}, path) {
		t.Error("a changed file stands")
	}
	put("one", time.Now())
	_, again, err := Look(Disk{}, path, path)
	if err != nil || again.Stands(Disk{}, path) || !again.Same(one) {
		t.Errorf("a file that was just written stands, or is not the same: %v", err)
	}
}

// A root is a tree too, and no name leads out of it.
func TestLookInRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keys"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if data, _, err := Look(root, "keys", "keys"); data != "x" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	if _, _, err := Look(root, "../"+filepath.Base(dir)+"/keys", "out"); err == nil {
		t.Error("a name led out")
	}
}

func TestFailure(t *testing.T) {
	if err := Failure("x", nil); err != nil {
		t.Errorf("nothing is %v", err)
	}
	denied := Failure("my keys", &fs.PathError{Op: "open", Path: "/tmp/.x", Err: syscall.EACCES})
	known := &Error{Path: "a", Line: 3, Err: errors.New("bad")}
	for _, tt := range []struct {
		err        error
		text, hint string
	}{
		{denied, "my keys: permission denied", fmt.Sprintf("run: sudo chown %d 'my keys'", os.Geteuid())},
		{Failure("b", known), "a:3: bad", ""},
	} {
		var e *Error
		if !errors.As(tt.err, &e) || e.Error() != tt.text || e.Hint() != tt.hint {
			t.Errorf("%v, hint %q", tt.err, e.Hint())
		}
	}
	if !errors.Is(denied, fs.ErrPermission) {
		t.Error("the cause is lost")
	}
}

func TestLines(t *testing.T) {
	var got strings.Builder
	for number, text := range Lines("\ufeffone\r\n\n\t# no\n two \n#no\r\n\r\nsix#yes") {
		fmt.Fprintf(&got, "%d=%s;", number, text)
	}
	if want := "1=one;4=two;7=six#yes;"; got.String() != want {
		t.Errorf("lines %q, want %q", got.String(), want)
	}
	for range Lines("a\nb") {
		break
	}
}

func TestAddress(t *testing.T) {
	for _, tt := range []struct {
		remote net.Addr
		want   string
	}{
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}, "10.0.0.1"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.1"), Port: 1}, "10.0.0.1"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 1}, "fe80::1"},
		{&net.UnixAddr{Name: "@"}, "invalid IP"},
		{&net.TCPAddr{}, "invalid IP"},
		{nil, "invalid IP"},
	} {
		if got := Address(tt.remote); got.String() != tt.want {
			t.Errorf("address of %v is %v, want %s", tt.remote, got, tt.want)
		}
	}
}

func TestNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", "10.0.0.0/8": "10.0.0.0/8", "::1": "::1/128", "2001:db8::/32": "2001:db8::/32", "0.0.0.0/0": "0.0.0.0/0",
	} {
		if got, err := Network(text); err != nil || got != netip.MustParsePrefix(want) {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10.0.0.1/8", "10.0.0.0/33", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "fe80::1%eth0", "10.0.0", "example.com", "10.0.0.0/08"} {
		if got, err := Network(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
