//go:build !windows

package passwords

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestVerify(t *testing.T) {
	f := open(t, newFile(t, "ada:"+cheapArgon+"\nbob:"+cheapBcrypt+"\neve:hunter2\nmax:"+strings.Repeat("a", 1024)), Options{Plaintext: true})
	for _, test := range []struct {
		user, password string
		want           bool
	}{
		{"ada", "open sesame", true},
		{"ada", "open barley", false},
		{"ada", cheapArgon, false},
		{"ada", "", false},
		{"Ada", "open sesame", false},
		{"ada\x00", "open sesame", false},
		{"bob", "open sesame", true},
		{"bob", "open sesame\x00open sesame", false},
		{"eve", "hunter2", true},
		{"eve", "hunter", false},
		{"max", strings.Repeat("a", 1024), true},
		{"max", strings.Repeat("a", 1025), false},
		{"nobody", "open sesame", false}, // the password of the decoy
		{"", "open sesame", false},
		{strings.Repeat("n", 257), "open sesame", false},
	} {
		if got := f.Verify(test.user, test.password); got != test.want {
			t.Errorf("Verify(%.20q, %.20q) = %v, want %v", test.user, test.password, got, test.want)
		}
	}
	want := []User{{"ada", "argon2id"}, {"bob", "bcrypt"}, {"eve", "plain text"}, {"max", "plain text"}}
	if got := f.Users(); !slices.Equal(got, want) {
		t.Errorf("users %v, want %v", got, want)
	}
}

// In an empty file every user is unknown, even with the password of the decoy.
func TestVerifyNobody(t *testing.T) {
	f := open(t, newFile(t, ""), Options{})
	if f.Verify("", "") || f.Verify("ada", "") || f.Verify("ada", "x") {
		t.Error("a login succeeded")
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, syscall.Mkfifo(at("fifo"), 0o600))
	listener, err := net.Listen("unix", at("socket"))
	must(t, err)
	defer listener.Close()
	must(t, os.WriteFile(at("huge"), nil, 0o600))
	must(t, os.Truncate(at("huge"), MaxFile+1))
	must(t, os.WriteFile(at("world"), nil, 0o600))
	must(t, os.Chmod(at("world"), 0o602))
	must(t, os.WriteFile(at("plain"), []byte("ada:hunter2"), 0o600))

	for _, test := range []struct{ path, want, fix string }{
		{dir, dir + ": is a directory", ""},
		{at("fifo"), "is a named pipe", ""},
		{at("socket"), "is a socket", ""},
		{os.DevNull, "is not a regular file", ""},
		{at("missing"), at("missing") + ": no such file or directory", ""},
		{at("huge"), "is larger than 8 MiB", ""},
		{at("world"), "others can write it (mode 0602)", "run: chmod 600 " + at("world")},
		{at("plain"), `plain:1: the password of "ada" is plain text`, "run: foyer user hash --passwords " + at("plain")},
	} {
		f, err := Open(test.path, Options{})
		if f != nil {
			t.Errorf("%s: opened despite the error", test.path)
		}
		wantError(t, err, test.want, test.fix)
	}
	if _, err := Open(at("missing"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist in it", err)
	}
}

func TestWarnings(t *testing.T) {
	path := newFile(t, "ada:"+cheapArgon)
	f := open(t, path, Options{})
	if got := f.Warnings(); len(got) != 0 {
		t.Errorf("warnings %v", got)
	}
	must(t, os.Chmod(path, 0o644))
	f.Users()
	got := f.Warnings()
	if len(got) != 1 {
		t.Fatalf("warnings %v, want one", got)
	}
	wantError(t, got[0], "others can read it (mode 0644)", "run: chmod 600 "+path)
}

// watchTest is a file with the errors that Warn received.
type watchTest struct {
	*testing.T
	path   string
	f      *File
	warned []string
}

func newWatchTest(t *testing.T, content string) *watchTest {
	s := &watchTest{T: t, path: newFile(t, content)}
	s.f = open(t, s.path, Options{Plaintext: true, Warn: func(err error) { s.warned = append(s.warned, err.Error()) }})
	return s
}

// check asserts, several times, that password is correct, and what Warn has received since the last check.
func (s *watchTest) check(password string, want ...string) {
	s.Helper()
	for range 3 {
		if !s.f.Verify("ada", password) {
			s.Errorf("%q is wrong", password)
		}
	}
	if !slices.EqualFunc(s.warned, want, strings.Contains) {
		s.Errorf("warned %q, want %q", s.warned, want)
	}
	s.warned = nil
}

func TestReread(t *testing.T) {
	s := newWatchTest(t, "ada:one")
	s.check("one")

	rewrite(t, s.path, "ada:two", longAgo.Add(time.Hour))
	s.check("two")
	rewrite(t, s.path, "ada:three", longAgo.Add(time.Hour)) // only the size differs
	s.check("three")

	rewrite(t, s.path+"~", "ada:seven", longAgo.Add(time.Hour)) // only the inode differs
	must(t, os.Rename(s.path+"~", s.path))
	s.check("seven")

	rewrite(t, s.path, "ada:eight", longAgo.Add(time.Hour)) // as cp -a, rsync -t and tar do: only the ctime differs
	s.check("eight")
}

// https://git-scm.com/docs/racy-git: a change within the resolution of the time stamp of the last one.
func TestRereadRacilyClean(t *testing.T) {
	s := newWatchTest(t, "ada:zero")
	for _, modified := range []time.Time{time.Now(), time.Now().Add(time.Hour)} {
		rewrite(t, s.path, "ada:one", modified)
		s.check("one")
		rewrite(t, s.path, "ada:two", modified)
		s.check("two")
	}
}

func TestRereadInvalid(t *testing.T) {
	s := newWatchTest(t, "ada:one")
	rewrite(t, s.path, "ada:$x", longAgo.Add(1*time.Hour))
	s.check("one", ":1: user \"ada\": unknown kind of hash")
	rewrite(t, s.path, "ada:$x", longAgo.Add(2*time.Hour)) // the same content again
	s.check("one")
	rewrite(t, s.path, "ada:$y", time.Now()) // other content, which is read every time
	s.check("one", "unknown kind of hash")
	rewrite(t, s.path, "ada:two", longAgo.Add(3*time.Hour))
	s.check("two")
	rewrite(t, s.path, "ada:$x", longAgo.Add(4*time.Hour))
	s.check("two", "unknown kind of hash")
	rewrite(t, s.path, "ada:two", longAgo.Add(5*time.Hour))
	s.check("two")
}

func TestRereadMissing(t *testing.T) {
	s := newWatchTest(t, "ada:one")
	must(t, os.Remove(s.path))
	s.check("one", "no such file")
	must(t, syscall.Mkfifo(s.path, 0o600))
	s.check("one", "is a named pipe")
	must(t, os.Remove(s.path))
	s.check("one", "no such file")
	rewrite(t, s.path, "ada:one", longAgo)
	s.check("one")
	must(t, os.Chmod(s.path, 0o606))
	s.check("one", "others can write it")
	must(t, os.Chmod(s.path, 0o600))
	rewrite(t, s.path, "ada:two", longAgo)
	s.check("two")
}

func TestRereadPlainTextNotAllowed(t *testing.T) {
	path := newFile(t, "ada:"+cheapArgon)
	var warned []error
	f := open(t, path, Options{Warn: func(err error) { warned = append(warned, err) }})
	rewrite(t, path, "ada:hunter2", longAgo.Add(time.Hour))
	if f.Verify("ada", "hunter2") || !f.Verify("ada", "open sesame") {
		t.Error("the plain-text version is in use")
	}
	if len(warned) != 1 {
		t.Fatalf("warned %v, want once", warned)
	}
	wantError(t, warned[0], "is plain text", "run: foyer user hash")
}

// Readers never see half a file while it is being edited.
func TestVerifyWhileEdited(t *testing.T) {
	path := newFile(t, "ada:"+cheapSHA512+"\n")
	f := open(t, path, Options{Warn: func(err error) { t.Errorf("warned: %v", err) }})
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if !f.Verify("ada", "open sesame") || f.Verify("nobody", "open sesame") || len(f.Users()) == 0 {
					t.Error("wrong answer")
				}
				f.Warnings()
			}
		})
	}
	for i := range 10 {
		user := fmt.Sprint("user", i)
		must(t, add(path, user, user+":"+cheapArgon, true))
	}
	close(done)
	wg.Wait()
	if n := len(f.Users()); n != 11 {
		t.Errorf("%d users, want 11", n)
	}
}

// Verify is VerifyFrom for tests in which the address does not matter.
func (f *File) Verify(user, password string) bool {
	return f.VerifyFrom(context.Background(), netip.Addr{}, user, password) == nil
}
