package passwords

import (
	"fmt"
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
		{"plain text", "ada:a:b:c\nbob: #\n", []string{"ada plain text", "bob plain text"}},
		{"names", "a#b:x\n\"é\\$(id)%s:x\n" + strings.Repeat("n", 256) + ":x",
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
		{"\xff\xfea\x00:hunter2", `user name "\xff\xfea\x00" is not UTF-8`, ""},
		{strings.Repeat("n", 257) + ":hunter2", `user name has 257 bytes, at most 256 are allowed`, ""},
		{"ada:hunter2\n#\nada:hunter2", `ssh-passwords:3: user "ada" is already on line 1`, ""},
		{"ada:", `ssh-passwords:1: user "ada": empty secret`, ""},
		{"ada:\r\n", `ssh-passwords:1: user "ada": empty secret`, ""},
		{"ada:!hunter2\nbob:*", `ssh-passwords:2: user "bob": locked account`, ""},
		{"ada:$hunter2", `ssh-passwords:1: user "ada": unknown kind of hash`, ""},
		{"ada:$6$hunter2", `ssh-passwords:1: user "ada": malformed sha512-crypt hash`, ""},
		{"ada:" + cheapArgon + "\n\nbob:hunter2\neve:hunter2", `ssh-passwords:3: the password of "bob" is plain text`, "run: foyer user hash"},
	} {
		_, err := load("ssh-passwords", test.data, false)
		wantError(t, err, test.want, test.fix)
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
	for _, data := range []string{"", "\n", "a", "a\n", "a\r\nb\r", "a\n\r\n\nb\r\r\n", "\r"} {
		if got := join(split(data)); got != data {
			t.Errorf("%q became %q", data, got)
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
		table, err := parse("ssh-passwords", split(data))
		if err != nil {
			return
		}
		for _, l := range split(data) {
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
		excess = strings.ContainsAny(text[:1], "${*!") && locked.MatchString(text) || text[0] == '$' || text[0] == '{'
	}
	if excess {
		t.Errorf("%s accepted: %q", scheme, text)
	}
}
