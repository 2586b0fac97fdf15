//go:build !windows

package passwords

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wantImport imports data and checks the outcome, "USER" or "USER: part of the error" for each line.
func wantImport(t *testing.T, path, data string, force bool, want ...string) {
	t.Helper()
	outcome, err := Import(path, "htpasswd", data, force, false)
	must(t, err)
	for i, got := range outcome {
		user, problem, _ := strings.Cut(append(want, "")[min(i, len(want))], ": ")
		if got.User != user || (got.Err == nil) != (problem == "") || problem != "" && !strings.Contains(got.Err.Error(), problem) {
			t.Errorf("outcome %d is %s, %v; want %s", i, got.User, got.Err, want[min(i, len(want)-1)])
		}
		if got.Err != nil && strings.Contains(got.Err.Error(), "hunter2") {
			t.Errorf("the error %q quotes a secret", got.Err)
		}
	}
	if len(outcome) != len(want) {
		t.Errorf("%d outcomes, want %d: %v", len(outcome), len(want), outcome)
	}
}

func TestImport(t *testing.T) {
	const shadow = "# a comment\n\nroot:*:19000:0:99999:7:::\nada:" + cheapSHA512 + ":19000:0:99999:7:::\nbob:!" + cheapSHA512 + ":19000:0:99999:7:::\n" +
		"old:" + cheapSHA512 + ":19000:0:99999:7::20000:\nnew::19000:0:99999:7:::\ndes:ab01FAX.bQRSU:19000:0:99999:7:::\n"
	for _, test := range []struct {
		name, before, data, after string
		want                      []string
	}{
		{"shadow", "", shadow, "ada:" + cheapSHA512 + "\n", []string{"root: locked account", "ada", "bob: locked account",
			"old: the account has an expiry date", "new: empty secret", "des: a hash of DES crypt"}},
		{"htpasswd", "# staff\r\nbob:" + cheapArgon, "\ufeffada:" + cheapBcrypt + "\r\neve:$apr1$hunter2$x\r\nmax:{SHA}hunter2\r\nkim:hunter2\r\n",
			"# staff\r\nbob:" + cheapArgon + "\r\nada:" + cheapBcrypt + "\r\n",
			[]string{"ada", "eve: a hash of md5-crypt", "max: a hash of LDAP", "kim: plain text"}},
		{"passwd", "", "ada:x:0:0:root:/root:/bin/sh\nbob:" + cheapSHA512 + ":1:1::/:/bin/sh\n", "bob:" + cheapSHA512 + "\n",
			[]string{"ada: x says that the hash is in another file", "bob"}},
		{"master.passwd", "", "ada:" + cheapBcrypt + ":0:0::0:0:root:/root:/bin/sh\nbob:" + cheapBcrypt + ":0:0::0:99:root:/root:/bin/sh\n",
			"ada:" + cheapBcrypt + "\n", []string{"ada", "bob: the account has an expiry date"}},
		{"htdigest", "", "ada:realm:0cc175b9c0f1b6a831c399e269772661\nbob:" + cheapBcrypt, "bob:" + cheapBcrypt + "\n", []string{"ada: a line of htdigest", "bob"}},
		{"users that exist", "ada:" + cheapArgon + "\nbob:" + cheapBcrypt + "\n", "ada:" + cheapBcrypt + "\nbob:" + cheapBcrypt + "\n",
			"ada:" + cheapArgon + "\nbob:" + cheapBcrypt + "\n", []string{"ada: the user exists", "bob"}},
		{"a user twice, and bad lines", "", "ada:" + cheapArgon + "\nada:" + cheapBcrypt + "\nhunter2\na b:" + cheapArgon + "\n", "ada:" + cheapArgon + "\n",
			[]string{"ada", "ada: is already on line 1", "line 3: no colon", `line 4: user name "a b" contains white space`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := newFile(t, test.before)
			wantImport(t, path, test.data, false, test.want...)
			wantFile(t, path, test.after)
			f := open(t, path, Options{})
			for _, user := range f.Users() {
				if !f.Verify(user.Name, "open sesame") {
					t.Errorf("%s: the password is wrong", user.Name)
				}
			}
		})
	}
}

func TestImportWithForce(t *testing.T) {
	path := newFile(t, "ada:"+cheapArgon+"\n")
	wantImport(t, path, "ada:"+cheapBcrypt+"\nada:"+cheapArgon+"\n", true, "ada", "ada: is already on line 1")
	wantFile(t, path, "ada:"+cheapBcrypt+"\n")
}

func TestImportCreatesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ssh-passwords")
	wantImport(t, path, "root:*:19000:0:99999:7:::\n", false, "root: locked account")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file without users was created, %v", err)
	}
	wantImport(t, path, "ada:"+cheapBcrypt+"\n", false, "ada")
	wantFile(t, path, "ada:"+cheapBcrypt+"\n")
}

// Either all users are written, or none.
func TestImportRefuses(t *testing.T) {
	for _, test := range []struct{ before, data, want, fix string }{
		{"bob:hunter2\n", "ada:" + cheapBcrypt, `ssh-passwords:1: the password of "bob" is plain text`, "run: foyer user hash"},
		{"bob:x:0:0::/:/bin/sh\n", "ada:" + cheapBcrypt, `:1: user "bob": a line of /etc/passwd`, "run: foyer user import "},
		{"", "\xff\xfea\x00:\x00", "htpasswd: is UTF-16", "run: iconv -f UTF-16 -t UTF-8 < htpasswd"},
	} {
		path := newFile(t, test.before)
		_, err := Import(path, "htpasswd", test.data, false, false)
		wantError(t, err, test.want, test.fix)
		wantFile(t, path, test.before)
	}
	_, err := Import(filepath.Join(t.TempDir(), "missing", "ssh-passwords"), "htpasswd", "ada:"+cheapBcrypt, false, false)
	wantError(t, err, "no such file or directory", "")
}
