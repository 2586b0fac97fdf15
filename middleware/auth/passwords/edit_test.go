//go:build !windows

package passwords

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"foyer/middleware/watchfile"
)

var fresh = regexp.MustCompile(`\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+`)

// wantFile checks the content of a file, with HASH for every new hash, and its mode, and that its directory holds nothing
// else.
func wantFile(t *testing.T, path, want string) {
	t.Helper()
	if got := fresh.ReplaceAllString(content(t, path), "HASH"); got != want {
		t.Errorf("file %q, want %q", got, want)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	wantNames(t, filepath.Dir(path), filepath.Base(path))
}

// wantNames checks what a directory holds, except locks.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("directory holds %q, want %q", names, want)
	}
}

// TestPut adds a line with a cheap hash. A hash of Add takes 19 MiB.
func TestPut(t *testing.T) {
	for _, test := range []struct{ name, before, after string }{
		{"to nothing", "", "ada:" + cheapArgon + "\n"},
		{"at the end", "# staff\n\nbob:one\n", "# staff\n\nbob:one\nada:" + cheapArgon + "\n"},
		{"after a line without an ending", "bob:one", "bob:one\nada:" + cheapArgon + "\n"},
		{"with cr lf", "bob:one\r\n# end", "bob:one\r\n# end\r\nada:" + cheapArgon + "\r\n"},
		{"after a lone cr", "bob:one\r", "bob:one\nada:" + cheapArgon + "\n"},
		{"in place", "bob:one\nada:y\r\n#\n", "bob:one\nada:" + cheapArgon + "\r\n#\n"},
		{"in place of an invalid line", "bob:one\nada:$x\n", "bob:one\nada:" + cheapArgon + "\n"},
		{"not in place of a longer name", "ada2:one\n#ada:y\n", "ada2:one\n#ada:y\nada:" + cheapArgon + "\n"},
		{"after a byte order mark", "\ufeffada:x\n", "ada:" + cheapArgon + "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := newFile(t, test.before)
			must(t, add(path, "ada", "ada:"+cheapArgon, true))
			wantFile(t, path, test.after)
			if !open(t, path, Options{Plaintext: true}).Verify("ada", "open sesame") {
				t.Error("the password is wrong")
			}
		})
	}
}

func TestAddCreatesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ssh-passwords")
	must(t, Add(path, "ada", "open sesame", true))
	wantFile(t, path, "ada:HASH\n")
	if !open(t, path, Options{}).Verify("ada", "open sesame") {
		t.Error("the password is wrong")
	}
	missing := filepath.Join(t.TempDir(), "missing", "ssh-passwords")
	wantError(t, Add(missing, "ada", "open sesame", true), missing+": no such file or directory", "")
}

func TestRefusedUsersAndPasswords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ssh-passwords")
	for _, test := range []struct{ user, password, want string }{
		{"", "hunter2", "empty user name"},
		{"#ada", "hunter2", `user name "#ada" starts with #, like a comment`},
		{"a:b", "hunter2", `user name "a:b" contains white space or a colon`},
		{"a\nroot", "hunter2", `user name "a\nroot" contains a control character`},
		{"\xff", "hunter2", `user name "\xff" is not UTF-8`},
		{strings.Repeat("n", 257), "hunter2", "user name has 257 bytes"},
		{"ada", "", "empty password"},
		{"ada", strings.Repeat("hunter2", 147), "password has 1029 bytes"},
	} {
		for name, err := range map[string]error{
			"create": Create(path, test.user, test.password), "add": Add(path, test.user, test.password, true),
		} {
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: error %v, want %q", name, err, test.want)
			}
		}
	}
	wantNames(t, filepath.Dir(path))
}

// An edit writes nothing that a server would refuse, and fails if another line is invalid.
func TestEditRefuses(t *testing.T) {
	const addBob = "run: foyer user add bob --passwords "
	for _, test := range []struct {
		before    string
		edit      func(path string) error
		want, fix string
	}{
		{"bob:$x\n", func(p string) error { return Add(p, "ada", "open sesame", true) }, `ssh-passwords:1: user "bob": unknown kind`, addBob},
		{"ada:one\n\nada:y\n", func(p string) error { return Add(p, "ada", "open sesame", true) }, `:3: user "ada" is already on line 1`, ""},
		{"ada:one\n\nbob:$x\n", func(p string) error { return Remove(p, "ada", true) }, `ssh-passwords:3: user "bob"`, addBob},
		{"ada:one\n", func(p string) error { return Remove(p, "bob", true) }, `ssh-passwords: no user "bob"`, ""},
		{"#ada:one\n", func(p string) error { return Remove(p, "#ada", true) }, `no user "#ada"`, ""},
		{"ada:one\nbob:!\n", func(p string) error { _, err := Hash(p); return err }, `ssh-passwords:2: user "bob": locked account`, "run: foyer user remove bob --passwords "},
		{"bob:one\n", func(p string) error { return Add(p, "ada", "open sesame", false) }, `ssh-passwords:1: the password of "bob" is plain text`, "run: foyer user hash"},
		{"bob:one\nada:two\n", func(p string) error { return Remove(p, "ada", false) }, `ssh-passwords:1: the password of "bob" is plain text`, "run: foyer user hash"},
	} {
		path := newFile(t, test.before)
		wantError(t, test.edit(path), test.want, test.fix)
		wantFile(t, path, test.before)
	}
}

// No edit changes a file of another program, even if its only line is the one that is edited.
func TestEditRefusesFilesOfOthers(t *testing.T) {
	const hex = "0cc175b9c0f1b6a831c399e269772661"
	for _, test := range []struct{ file, want, fix string }{
		{"ada:x:0:0:root:/root:/bin/sh\n", `:1: user "ada": a line of /etc/passwd`, "run: foyer user import "},
		{"ada:hunter2:19000:0:99999:7:::\n", `:1: user "ada": a line of /etc/shadow`, "run: foyer user import "},
		{"ada:*:0:0::0:0:root:/root:/bin/sh\n", `:1: user "ada": a line of master.passwd`, "run: foyer user import "},
		{"ada:a realm:" + hex + "\n", `:1: user "ada": a line of htdigest`, "remove the line, and run: foyer user add ada"},
		{"ada:x:0:\n", `:1: user "ada": a password with a colon, or a line of another program`, "remove the line, and run: foyer user add ada"},
		{"# staff\n\nada:scrypt:32768:8:1$salt$" + hex + "\n", `:3: user "ada": a hash of Django or Werkzeug`, "remove the line, and run: foyer user add ada"},
	} {
		path := newFile(t, test.file)
		_, hashed := Hash(path)
		for _, err := range []error{hashed, Add(path, "ada", "open sesame", true), Remove(path, "ada", true)} {
			wantError(t, err, test.want, test.fix)
		}
		wantFile(t, path, test.file)
		_, err := Open(path, Options{Plaintext: true})
		wantError(t, err, test.want, test.fix)
	}
}

// A line that a server refuses is not hashed, and neither are the others of its file.
func TestHashRefusesHashes(t *testing.T) {
	for _, secret := range []string{"x", "NP", "*LK*", "ab01FAX.bQRSU", "pbkdf2_sha256$600000$salt$aGFzaA=="} {
		path := newFile(t, "bob:hunter2\nada:"+secret+"\n")
		if _, err := Hash(path); err == nil {
			t.Errorf("%s: no error", secret)
		}
		wantFile(t, path, "bob:hunter2\nada:"+secret+"\n")
	}
}

func TestRemove(t *testing.T) {
	for _, test := range []struct{ before, after string }{
		{"ada:one\n", ""},
		{"# staff\r\nada:one\r\n\r\nbob:y", "# staff\r\n\r\nbob:y"},
		{"bob:y\nada:one", "bob:y\n"},
		{"ada:one\nbob:y\nada:z\n", "bob:y\n"},
		{"bob:y\nada:$broken\n", "bob:y\n"},
	} {
		path := newFile(t, test.before)
		must(t, Remove(path, "ada", true))
		wantFile(t, path, test.after)
	}
	wantError(t, Remove(filepath.Join(t.TempDir(), "none"), "ada", true), "no such file or directory", "")
}

func TestHash(t *testing.T) {
	path := newFile(t, "\n# bob:hunter2\r\nbob:hunter2\r\n \t\nada:"+cheapSHA512+"\neve:a b\n#\nmax:one")
	n, err := Hash(path)
	must(t, err)
	if n != 3 {
		t.Errorf("hashed %d, want 3", n)
	}
	wantFile(t, path, "\n# bob:hunter2\r\nbob:HASH\r\n \t\nada:"+cheapSHA512+"\neve:HASH\n#\nmax:HASH")
	f := open(t, path, Options{})
	for user, password := range map[string]string{"bob": "hunter2", "ada": "open sesame", "eve": "a b", "max": "one"} {
		if !f.Verify(user, password) {
			t.Errorf("%s: the password is wrong", user)
		}
	}

	before, err := os.Stat(path)
	must(t, err)
	if n, err := Hash(path); n != 0 || err != nil {
		t.Errorf("the second time: %d, %v", n, err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Error("the file was replaced although nothing changed")
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ssh-passwords")
	must(t, Create(path, "ada", "open sesame"))
	wantFile(t, path, "ada:HASH\n")
	before := content(t, path)
	err := Create(path, "bob", "open sesame")
	wantError(t, err, path+": file already exists", "")
	if !errors.Is(err, fs.ErrExist) || content(t, path) != before {
		t.Errorf("error %v, want fs.ErrExist and the old file", err)
	}
	nowhere := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink("nowhere", nowhere))
	if err := Create(nowhere, "ada", "open sesame"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a dangling link: error %v, want fs.ErrExist", err)
	}
	if err := Add(nowhere, "ada", "open sesame", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dangling link: error %v, want fs.ErrNotExist", err)
	}
	wantNames(t, filepath.Dir(nowhere), "link")
}

func TestCreateConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ssh-passwords")
	var created atomic.Pointer[string]
	race(32, func(i int) {
		text := fmt.Sprint("user", i, ":", cheapArgon)
		switch err := watchfile.Create(path, text+"\n"); { // without a hash, all calls run at the same moment
		case err == nil && created.Swap(&text) != nil:
			t.Error("two calls succeeded")
		case err != nil && !errors.Is(err, fs.ErrExist):
			t.Error(err)
		}
	})
	if created.Load() == nil {
		t.Fatal("no call succeeded")
	}
	wantFile(t, path, *created.Load()+"\n")
}

// race calls do(0) to do(n-1) concurrently.
func race(n int, do func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	wg.Wait()
}

func TestConcurrentEdits(t *testing.T) {
	const n = 32
	path := filepath.Join(t.TempDir(), "ssh-passwords")
	race(n, func(i int) {
		user := fmt.Sprint("user", i)
		var err error
		if i < 4 {
			err = Add(path, user, "open sesame", true)
		} else { // without a hash, all calls run at the same moment
			err = add(path, user, user+":"+cheapArgon, true)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if users := open(t, path, Options{}).Users(); len(users) != n {
		t.Errorf("%d of %d added users are in the file: %v", len(users), n, users)
	}
	race(n-1, func(i int) {
		if err := Remove(path, fmt.Sprint("user", i+1), true); err != nil {
			t.Error(err)
		}
	})
	wantFile(t, path, "user0:HASH\n")
}

func TestEditFollowsLinks(t *testing.T) {
	path := newFile(t, "bob:one\n")
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	must(t, os.Symlink(path, link))
	must(t, Add(link, "ada", "open sesame", true))
	wantFile(t, path, "bob:one\nada:HASH\n")
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	wantNames(t, dir, "link")
}

func TestEditOnlyRegularFiles(t *testing.T) {
	dir := t.TempDir()
	fifo, open := filepath.Join(dir, "fifo"), filepath.Join(dir, "open")
	must(t, syscall.Mkfifo(fifo, 0o600))
	must(t, os.WriteFile(open, nil, 0o600))
	must(t, os.Chmod(open, 0o666))
	wantError(t, Add(fifo, "ada", "open sesame", true), "is a named pipe", "")
	wantError(t, Add(dir, "ada", "open sesame", true), "is a directory", "")
	wantError(t, Add(open, "ada", "open sesame", true), "others can write it", "run: chmod 600 "+open)
	wantNames(t, dir, "fifo", "open")
}

// After "sudo foyer user add", the server must still be able to read its file.
func TestEditKeepsTheOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can change the owner of a file")
	}
	path := newFile(t, "bob:one\n")
	must(t, os.Chown(path, 1234, -1))
	must(t, Add(path, "ada", "open sesame", true))
	info, err := os.Stat(path)
	must(t, err)
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 1234 {
		t.Errorf("owner %d, want 1234", uid)
	}
}

// Anybody who can read the file can lock it. An edit does not wait for that lock.
func TestEditDespiteReaders(t *testing.T) {
	path := newFile(t, "ada:one\nbob:one\n")
	must(t, os.Chmod(path, 0o644))
	reader, err := os.Open(path)
	must(t, err)
	defer reader.Close()
	must(t, syscall.Flock(int(reader.Fd()), syscall.LOCK_EX))
	must(t, Remove(path, "ada", true))
}

// The owner of the directory cannot use a symbolic link to make root edit another user's file.
func TestEditFollowsTrustedLinks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can change the owner of a link")
	}
	for _, tt := range []struct {
		name       string
		link, file int // the owners
		edited     bool
	}{
		{"a user's link to root's file", 1234, 0, false},
		{"a user's link to another user's file", 1234, 1235, false},
		{"a user's link to their own file", 1234, 1234, false},
		{"root's link to a user's file", 0, 1234, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := newFile(t, "bob:one\n")
			link := filepath.Join(t.TempDir(), "link")
			must(t, os.Chown(path, tt.file, -1))
			must(t, os.Symlink(path, link))
			must(t, os.Lchown(link, tt.link, -1))
			err := Add(link, "ada", "open sesame", true)
			if edited := err == nil; edited != tt.edited || !edited && !strings.Contains(err.Error(), "symbolic link that belongs to uid 1234") {
				t.Errorf("edited %t, error %v", edited, err)
			}
			if !tt.edited {
				wantFile(t, path, "bob:one\n")
			}
		})
	}
}

// An edit never makes the file too large to read.
func TestEditLimitsSize(t *testing.T) {
	before := "bob:one\n" + strings.Repeat("# "+strings.Repeat("x", 1021)+"\n", MaxFile>>10-1)
	before += strings.Repeat("#", MaxFile-len(before)-20) + "\n"
	path := newFile(t, before)
	if err := Add(path, "ada", "open sesame", true); err == nil || !strings.HasSuffix(err.Error(), "would be larger than 8 MiB, the limit") {
		t.Errorf("added, error %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != before {
		t.Errorf("the file has changed, error %v", err)
	}
	must(t, Remove(path, "bob", true))
}

// A limit on the size of files simulates a full disk. It affects the whole process, so it leaves room for the files of the
// test itself.
func TestFullDisk(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	before := "bob:hunter2\n" + "# " + strings.Repeat("x", 1<<20-6)
	path := newFile(t, before)

	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: limit.Max}))
	added := Add(path, "ada", "open sesame", true)
	_, hashed := Hash(path)
	removed := Remove(path, "bob", true)
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))

	for _, err := range []error{added, hashed} {
		if !errors.Is(err, syscall.EFBIG) {
			t.Errorf("error %v, want EFBIG", err)
		}
	}
	must(t, removed) // the shorter file fits, and the lock is free
	wantFile(t, path, before[len("bob:hunter2\n"):])
}
