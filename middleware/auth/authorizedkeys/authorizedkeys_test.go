//go:build !windows

package authorizedkeys

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
	"foyer/middleware/watchfile"
)

// here is the address of the client.
var here = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}

// longAgo is a modification time that is not racy.
var longAgo = time.Now().Add(-time.Hour).Truncate(time.Second)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a user's file with that modification time.
func put(t testing.TB, dir, user, text string, changed time.Time) string {
	t.Helper()
	path := filepath.Join(dir, user)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	must(t, os.Chtimes(path, changed, changed))
	return path
}

// newDir returns a directory with a file for each user.
func newDir(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	for user, text := range files {
		put(t, dir, user, text, longAgo)
	}
	return dir
}

// watcher is a directory with the problems that Warn received.
type watcher struct {
	*testing.T
	dir    string
	d      *Dir
	warned []string
}

func watch(t *testing.T, files map[string]string) *watcher {
	w := &watcher{T: t, dir: newDir(t, files)}
	w.d = Open(w.dir, Options{Warn: func(err error) { w.warned = append(w.warned, err.Error()) }})
	return w
}

// check asserts, several times, whether key is valid for ada, and what Warn has received since the last check.
func (w *watcher) check(key gossh.PublicKey, in bool, want ...string) {
	w.Helper()
	for range 3 {
		if _, err := w.d.Authorize("ada", here, key); (err == nil) != in {
			w.Errorf("Authorize returned %v", err)
		}
	}
	if !slices.EqualFunc(w.warned, want, strings.Contains) {
		w.Errorf("warned %q, want %q", w.warned, want)
	}
	w.warned = nil
}

func TestAuthorize(t *testing.T) {
	ada, eve, both := newKey(t), newKey(t), newKey(t)
	d := Open(newDir(t, map[string]string{
		"ada":   text(ada) + text(both),
		"Ada":   text(eve),
		"eve":   text(eve) + text(both),
		".eve":  text(eve),
		"eve~":  text(eve),
		"ünder": text(ada),
	}), Options{})
	for _, tt := range []struct {
		user string
		key  gossh.PublicKey
		in   bool
	}{
		{"ada", ada, true},
		{"ada", both, true},
		{"ada", eve, false},
		{"Ada", eve, true},
		{"Ada", ada, false},
		{"ADA", ada, false},
		{"eve", both, true},
		{"eve", ada, false},
		{".eve", eve, false},
		{"eve~", eve, false},
		{"ünder", ada, true},
		{"nobody", ada, false},
		{"", ada, false},
		{".", ada, false},
		{"..", ada, false},
		{"./ada", ada, false},
		{"/etc/passwd", ada, false},
		{"x/../ada", ada, false},
		{`x\ada`, ada, false},
		{"ada\x00", ada, false},
		{"ada\n", ada, false},
		{"ada\xff", ada, false},
		{strings.Repeat("a", 256), ada, false},
	} {
		granted, err := d.Authorize(tt.user, here, tt.key)
		if (err == nil) != tt.in || (granted == nil) == tt.in {
			t.Errorf("Authorize(%.20q) returned %v, %v", tt.user, granted, err)
		}
		if !tt.in && !errors.Is(err, errNotAuthorized) {
			t.Errorf("Authorize(%.20q) reveals %v", tt.user, err)
		}
	}
}

// Each login gets its own copy of the permissions.
func TestAuthorizeCopies(t *testing.T) {
	key := newKey(t)
	d := Open(newDir(t, map[string]string{"ada": text(key)}), Options{})
	first, err := d.Authorize("ada", here, key)
	must(t, err)
	clear(first.Extensions)
	second, err := d.Authorize("ada", here, key)
	must(t, err)
	if got := slices.Sorted(maps.Keys(second.Extensions)); len(got) != len(keyfile.Permits()) {
		t.Errorf("permitted %q", got)
	}
}

func TestAuthorizeKinds(t *testing.T) {
	key, ca := newKey(t), newSigner(t)
	cert := &gossh.Certificate{Key: key, CertType: gossh.UserCert, ValidPrincipals: []string{"ada"}, ValidBefore: gossh.CertTimeInfinity}
	must(t, cert.SignCert(nullReader{}, ca))
	d := Open(newDir(t, map[string]string{"ada": text(key) + string(gossh.MarshalAuthorizedKey(cert))}), Options{})
	if _, err := d.Authorize("ada", here, cert); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a certificate: %v", err)
	}
	weak, _, _, _, err := gossh.ParseAuthorizedKey([]byte(shortRSALine))
	must(t, err)
	put(t, d.path, "ada", shortRSALine, time.Now())
	if _, err := d.Authorize("ada", here, weak); err == nil {
		t.Error("an RSA key of 1024 bits was accepted")
	}
}

// The first line that admits the key counts, as in sshd.
func TestAuthorizeSeveralLines(t *testing.T) {
	key := newKey(t)
	d := Open(newDir(t, map[string]string{
		"ada": `expiry-time="20200101" ` + text(key) + `from="10.0.0.0/8" ` + text(key) + "no-pty " + text(key) + text(key),
		"bob": `expiry-time="20200101" ` + text(key),
		"eve": `from="!192.0.2.7,*" ` + text(key),
	}), Options{})
	granted, err := d.Authorize("ada", here, key)
	must(t, err)
	if _, pty := granted.Extensions[keyfile.PermitPTY]; pty {
		t.Error("the last line counts")
	}
	for user, want := range map[string]string{"bob": "expired", "eve": "address"} {
		if _, err := d.Authorize(user, here, key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", user, err)
		}
	}
	if _, err := d.Authorize("eve", &net.UnixAddr{Name: "@"}, key); err == nil {
		t.Error("a client without an address was accepted")
	}
}

func TestReread(t *testing.T) {
	one, two := newKey(t), newKey(t)
	w := watch(t, map[string]string{"ada": text(one)})
	w.check(one, true)

	path := put(t, w.dir, "ada", text(two), longAgo.Add(time.Minute))
	w.check(one, false)
	w.check(two, true)

	put(t, w.dir, "ada", text(one), time.Now()) // and again within the resolution of time stamps
	w.check(one, true)
	put(t, w.dir, "ada", text(two), time.Now())
	w.check(two, true)

	must(t, os.Rename(path, path+"~"))
	w.check(two, false)
	if len(w.d.files) != 0 {
		t.Errorf("a deleted file is remembered: %v", w.d.files)
	}
	must(t, os.Rename(path+"~", path))
	w.check(two, true)

	must(t, os.Rename(w.dir, w.dir+".old"))
	w.check(two, false)
	must(t, os.Mkdir(w.dir, 0o700)) // another directory with the same name
	put(t, w.dir, "ada", text(one), longAgo)
	w.check(one, true)
}

// Each version of a file is reported once, and its valid lines are used.
func TestWarn(t *testing.T) {
	key := newKey(t)
	w := watch(t, map[string]string{"ada": "# keys\n\nssh-ed25519 AAAA\n" + text(key) + "command=\"ls\" " + text(key)})
	w.check(key, true, filepath.Join(w.dir, "ada")+":3: the key is", `ada:5: option "command"`)

	path := put(t, w.dir, "ada", text(key), longAgo.Add(time.Minute))
	must(t, os.Chmod(path, 0o602))
	w.check(key, false, "others can write it (mode 0602)")
	must(t, os.Chmod(path, 0o640))
	w.check(key, true)

	must(t, os.Chmod(w.dir, 0o702))
	w.check(key, false, w.dir+": others can write it (mode 0702)")
	must(t, os.Chmod(w.dir, 0o700))
	w.check(key, true)
}

func TestNotAFile(t *testing.T) {
	key := newKey(t)
	outside := put(t, newDir(t, nil), "ada", text(key), longAgo)
	for _, tt := range []struct {
		want string
		make func(path string) error
	}{
		{"is a directory", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"is a named pipe", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		{"is a socket", func(path string) error {
			listener, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { _ = listener.Close() })
			}
			return err
		}},
		{"is larger than 1 MiB", func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(text(key)), 0o600), os.Truncate(path, keyfile.MaxFile+1))
		}},
		{"path escapes", func(path string) error { return os.Symlink(outside, path) }},
		{"path escapes", func(path string) error { return os.Symlink("../../../../../../../.."+outside, path) }},
	} {
		w := watch(t, nil)
		must(t, tt.make(filepath.Join(w.dir, "ada")))
		w.check(key, false, filepath.Join(w.dir, "ada")+": "+tt.want)
	}
}

// A symbolic link within the directory is followed.
func TestLinkWithin(t *testing.T) {
	key := newKey(t)
	w := watch(t, map[string]string{"eve": text(key)})
	must(t, os.Symlink("eve", filepath.Join(w.dir, "ada")))
	w.check(key, true)
	put(t, w.dir, "eve", "", longAgo.Add(time.Minute))
	w.check(key, false)
}

func TestMissingDirectory(t *testing.T) {
	key := newKey(t)
	w := watch(t, nil)
	must(t, os.Remove(w.dir))
	w.check(key, false)
	put(t, filepath.Dir(w.dir), filepath.Base(w.dir), "", longAgo)
	w.check(key, false, w.dir+": is not a directory with a file for each user")
	must(t, os.Remove(w.dir))
	must(t, Add(w.dir, "ada", []byte(text(key))))
	w.check(key, true)
}

// A change of the directory or of its mode takes effect at once.
func TestDirectoryChanges(t *testing.T) {
	before, after := newKey(t), newKey(t)
	w := watch(t, map[string]string{"ada": text(before)})
	w.check(before, true)
	must(t, os.Chmod(w.dir, 0o702))
	w.check(before, false, "others can write it")
	must(t, os.Chmod(w.dir, 0o700))
	w.check(before, true)

	must(t, os.Rename(w.dir, w.dir+".old"))
	must(t, os.Rename(newDir(t, map[string]string{"ada": text(after)}), w.dir))
	w.check(before, false)
	w.check(after, true)
	must(t, os.RemoveAll(w.dir))
	w.check(after, false)
	must(t, os.Rename(w.dir+".old", w.dir))
	w.check(before, true)
}

// Nothing is remembered or reported about unknown users, and the number of remembered files is bounded.
func TestBounded(t *testing.T) {
	key := newKey(t)
	files := map[string]string{}
	for i := range maxCached + 10 {
		files[fmt.Sprint("user", i)] = text(key)
	}
	d := Open(newDir(t, files), Options{Warn: func(err error) { t.Error(err) }})
	for i := range 100 {
		if _, err := d.Authorize(fmt.Sprint("unknown", i, strings.Repeat("x", 5*i)), here, key); err == nil {
			t.Error("an unknown user was accepted")
		}
	}
	if len(d.files) != 0 {
		t.Errorf("%d unknown users are remembered", len(d.files))
	}
	for user := range files {
		if _, err := d.Authorize(user, here, key); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.files) != maxCached {
		t.Errorf("%d files are remembered", len(d.files))
	}
}

func TestConcurrently(t *testing.T) {
	key := newKey(t)
	dir := newDir(t, map[string]string{"ada": text(key)})
	d := Open(dir, Options{Warn: func(err error) { t.Error(err) }})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if _, err := d.Authorize("ada", here, key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		must(t, Add(dir, "ada", []byte(text(newKey(t)))))
	}
	all.Wait()
}

func TestUsers(t *testing.T) {
	key := newKey(t)
	dir := newDir(t, map[string]string{
		"bob":   "\n no-pty,from=\"10.0.0.1\" " + strings.TrimSpace(text(key)) + " bob at work\r\n",
		"ada":   "nonsense\n" + text(key),
		".lock": "",
	})
	must(t, os.Mkdir(filepath.Join(dir, "eve"), 0o700))
	d := Open(dir, Options{Warn: func(err error) { t.Errorf("warned: %v", err) }})
	users, err := d.Users()
	must(t, err)
	fingerprint := gossh.FingerprintSHA256(key)
	for i, want := range []struct {
		name, keys, problem string // problem is part of the only one
	}{
		{"ada", fmt.Sprint([]Key{{2, "ssh-ed25519", fingerprint, "", ""}}), ":1: not a public key"},
		{"bob", fmt.Sprint([]Key{{2, "ssh-ed25519", fingerprint, "bob at work", `no-pty,from="10.0.0.1"`}}), ""},
		{"eve", "[]", ": is a directory"},
	} {
		user := users[i]
		if user.Name != want.name || fmt.Sprint(user.Keys) != want.keys {
			t.Errorf("user %v, want %v", user, want)
		}
		if got := fmt.Sprint(user.Problems); (len(user.Problems) == 0) != (want.problem == "") || !strings.Contains(got, want.problem) {
			t.Errorf("%s: problems %s, want %q", user.Name, got, want.problem)
		}
	}
	if len(users) != 3 {
		t.Errorf("%d users, want 3", len(users))
	}
	path := filepath.Join(dir, "missing")
	users, err = Open(path, Options{}).Users()
	problem, _ := errors.AsType[*watchfile.Error](err)
	if users != nil || !errors.Is(err, fs.ErrNotExist) || problem.Hint() != "run: mkdir -p -m 700 "+path {
		t.Errorf("a missing directory: %v, %v", users, err)
	}
	path = filepath.Join(dir, "ada")
	users, err = Open(path, Options{}).Users()
	problem, _ = errors.AsType[*watchfile.Error](err)
	if users != nil || problem == nil || !strings.HasSuffix(problem.Hint(), "user add NAME --authorized-keys DIR --key "+path) {
		t.Errorf("a file: %v, %v", users, err)
	}
	must(t, os.Chmod(dir, 0o777))
	if _, err := d.Users(); err == nil {
		t.Error("a directory that others can write was read")
	}
}
