//go:build !windows

package passwords

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	const ada, bob = "ada:" + cheapArgon, "bob:" + cheapBcrypt
	both := []string{"ada argon2id", "bob bcrypt"}
	for _, test := range []struct {
		name, data string
		want       []string
	}{
		{"nothing", "", nil},
		{"comments only", "# ada\n\n \t\n  # bob:hunter2\n", nil},
		{"two users", ada + "\n" + bob + "\n", both},
		{"no last line ending", ada + "\n" + bob, both},
		{"cr lf", ada + "\r\n\r\n" + bob + "\r\n", both},
		{"cr lf, no last line feed", ada + "\r\n" + bob + "\r", both},
		{"byte order mark", "\ufeff" + ada + "\n" + bob, both},
		{"byte order mark and comment", "\ufeff# staff\n" + ada + "\n" + bob, both},
		{"plain text", "ada:a b\nbob:#\n", []string{"ada plain text", "bob plain text"}},
		{"names", "a#b:one\n\"é\\$(id)%s:one\n" + strings.Repeat("n", 256) + ":one",
			[]string{"a#b plain text", "\"é\\$(id)%s plain text", strings.Repeat("n", 256) + " plain text"}},
	} {
		table, err := load("ssh-passwords", test.data, true)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []string
		for _, e := range table.entries {
			got = append(got, e.name+" "+e.scheme)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: users %q, want %q", test.name, got, test.want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for _, test := range []struct{ data, want, fix string }{
		{"# staff\n\nhunter2\n", `ssh-passwords:3: no colon: a line is user:secret`, ""},
		{"\n:hunter2", `ssh-passwords:2: empty user name`, ""},
		{"ada lovelace:hunter2", `ssh-passwords:1: user name "ada lovelace" contains white space or a colon`, ""},
		{" ada:hunter2", `user name " ada" contains white space or a colon`, ""},
		{"a\x1b[2Jda:hunter2", `user name "a\x1b[2Jda" contains a control character`, ""},
		{"a\u00a0da:hunter2", `contains white space or a colon`, ""},
		{"\xff\xfea\x00:hunter2", `ssh-passwords: is UTF-16 or binary, not UTF-8`, "run: iconv -f UTF-16 -t UTF-8 < ssh-passwords > new-passwords"},
		{"\xff:hunter2", `user name "\xff" is not UTF-8`, ""},
		{"a\x00d\x00a\x00:\x00\n", `ssh-passwords: is UTF-16 or binary`, "run: iconv "},
		{"ada:hunter2\rbob:hunter2\r", `ssh-passwords: has line endings that are CR without LF`, `run: tr '\r' '\n' < ssh-passwords > new-passwords`},
		{"# staff\rada:hunter2", `ssh-passwords: has line endings that are CR without LF`, "run: tr "},
		{"ada: hunter2", `ssh-passwords:1: user "ada": white space after the colon`, "run: foyer user add ada"},
		{strings.Repeat("n", 257) + ":hunter2", `user name has 257 bytes, at most 256 are allowed`, ""},
		{"ada:hunter2\n#\nada:hunter2", `ssh-passwords:3: user "ada" is already on line 1`, ""},
		{"ada:", `ssh-passwords:1: user "ada": empty secret`, "run: foyer user add ada"},
		{"ada:\r\n", `ssh-passwords:1: user "ada": empty secret`, "run: foyer user add ada"},
		{"ada:!hunter2\nbob:*", `ssh-passwords:2: user "bob": locked account`, "run: foyer user remove bob"},
		{"ada:$hunter2", `ssh-passwords:1: user "ada": unknown kind of hash`, "run: foyer user add ada"},
		{"ada:$6$hunter2", `ssh-passwords:1: user "ada": malformed sha512-crypt hash`, "run: foyer user add ada"},
		{"ada:" + cheapArgon + "\n\nbob:hunter2\neve:hunter2", `ssh-passwords:3: the password of "bob" is plain text`, "run: foyer user hash"},
	} {
		_, err := load("ssh-passwords", test.data, false)
		wantError(t, err, test.want, test.fix)
	}
}

// Check names all problems. One bad line hides neither the others nor the users.
func TestCheck(t *testing.T) {
	path := newFile(t, "ada:"+cheapArgon+"\nbob:$hunter2\neve:hunter2\n#\nmax:*\nkim:"+cheapBcrypt)
	must(t, os.Chmod(path, 0o644))
	users, problems := Check(path, false)
	if want := []User{{"ada", "argon2id"}, {"eve", "plain text"}, {"kim", "bcrypt"}}; !slices.Equal(users, want) {
		t.Errorf("users %v, want %v", users, want)
	}
	want := []string{`:2: user "bob": unknown kind`, `:5: user "max": locked`, `:3: the password of "eve" is plain text`, "others can read it"}
	if got := fmt.Sprint(problems); len(problems) != len(want) || !slices.EqualFunc(problems, want, func(err error, want string) bool {
		return strings.Contains(err.Error(), want)
	}) {
		t.Errorf("problems %v, want %q", got, want)
	}
	if _, problems := Check(path, true); len(problems) != 3 {
		t.Errorf("with plain text allowed: problems %v", problems)
	}
	if _, problems := Check(path+".missing", false); len(problems) != 1 || !errors.Is(problems[0], fs.ErrNotExist) {
		t.Errorf("a missing file: problems %v", problems)
	}
}

func TestFirstLine(t *testing.T) {
	for _, test := range []struct{ data, line, want string }{
		{"", "", ""},
		{"hunter2", "hunter2", ""},
		{" a\tb \nc", " a\tb ", ""},
		{"hunter2\r\n\xff\xfe", "hunter2", ""},
		{"hunter2\r", "hunter2", ""},
		{"\ufeffhunter2\n", "hunter2", ""},
		{"hunter2\rnext\r", "", "CR without LF"},
		{"\xff\xfeh\x00\n\x00", "", "UTF-16"},
		{"\xfe\xff\x00h\x00\n", "", "UTF-16"},
		{"h\x00\n\x00", "", "UTF-16"},
	} {
		line, err := FirstLine(test.data)
		switch {
		case test.want == "" && (line != test.line || err != nil):
			t.Errorf("the first line of %q is %q, %v; want %q", test.data, line, err, test.line)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%q: error %v, want %q", test.data, err, test.want)
		}
	}
}

func TestDecoy(t *testing.T) {
	for _, test := range []struct{ data, want string }{
		{"", "map[plain text:1000]"},
		{"ada:hunter2", "map[plain text:1000]"},
		{"ada:" + cheapArgon + "\nbob:" + cheapBcrypt, "map[argon2id:500 bcrypt:500]"},
		{"ada:" + cheapBcrypt + "\nbob:" + cheapBcrypt + "\nmax:" + cheapArgon + "\neve:hunter2",
			"map[argon2id:250 bcrypt:500 plain text:250]"},
	} {
		table, err := load("ssh-passwords", test.data, true)
		must(t, err)
		picked := map[string]int{}
		for pick := range uint64(1000) {
			decoy, known := table.lookup("nobody", pick)
			if known {
				t.Errorf("%q: nobody is known", test.data)
			}
			picked[decoy.scheme]++
		}
		if fmt.Sprint(picked) != test.want {
			t.Errorf("%q: nobody costs %v, want %s", test.data, picked, test.want)
		}
	}
}

func TestSplitAndJoin(t *testing.T) {
	for _, data := range []string{"", "\n", "a", "a\n", "a\r\nb\r", "a\n\r\n\nb\r\n", "\r"} {
		lines, err := split("ssh-passwords", data)
		if got := join(lines); err != nil || got != data {
			t.Errorf("%q became %q, %v", data, got, err)
		}
	}
}

// FuzzParse looks for a file that makes the parser or a decoder of a library panic, or that exceeds the bounds.
func FuzzParse(f *testing.F) {
	for _, secret := range []string{
		cheapArgon, cheapBcrypt, cheapSHA512, lanes("m=262144,t=4,p=16"), memory("ln=18,r=8,p=2"), memory("ln=-1,r=8,p=1"),
		setting("jDT"), setting("j7T"), "$6$abcdefgh$" + strings.Repeat("a", 86), "{CRYPT}" + cheapArgon, "hunter2", "!", "",
	} {
		f.Add("# staff\r\nada:" + secret + "\r\n\nbob:" + secret)
		f.Add("\ufeffada:" + secret)
	}
	f.Fuzz(func(t *testing.T, data string) {
		table, err := load("ssh-passwords", data, true)
		if err != nil {
			return
		}
		lines, _ := split("ssh-passwords", data)
		for _, l := range lines {
			name, text, _ := strings.Cut(l.text, ":")
			if e, ok := table.byName[name]; ok && e.num == l.num {
				checkBounds(t, e.scheme, text)
			}
		}
	})
}

// checkBounds parses the parameters independently of the package.
func checkBounds(t *testing.T, scheme, text string) {
	var a, b, c int
	var excess bool
	switch scheme {
	case "argon2id":
		_, err := fmt.Sscanf(text, "$argon2id$v=19$m=%d,t=%d,p=%d$", &a, &b, &c)
		excess = err != nil || a > 256<<10 || a*b > 1<<20 || c > 16 || a < 8*c || b < 1 || c < 1
	case "bcrypt":
		_, err := fmt.Sscanf(text[len("$2b$"):], "%d$", &a)
		excess = err != nil || a < 4 || a > 14
	case "scrypt":
		_, err := fmt.Sscanf(text, "$scrypt$ln=%d,r=%d,p=%d$", &a, &b, &c)
		excess = err != nil || a < 1 || a > 21 || b < 1 || c < 1 || b<<a > 1<<21 || b<<a*c > 1<<22
	case "yescrypt":
		a, b = strings.IndexByte(itoa64, text[4])+1, strings.IndexByte(itoa64, text[5])+1
		excess = a < 10 || a > 18 || b < 1 || b<<a > 1<<21
	case "sha512-crypt":
		n, _ := fmt.Sscanf(text, "$6$rounds=%d$", &a)
		excess = n == 1 && (a < 1000 || a > 1_000_000)
	default:
		excess = strings.ContainsAny(text[:1], "${ ") || strings.Contains(text, ":")
	}
	if excess {
		t.Errorf("%s accepted: %q", scheme, text)
	}
}
