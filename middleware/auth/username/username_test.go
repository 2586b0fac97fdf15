package username_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"foyer/middleware/auth/username"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string // "" if the user cannot have a file
		want string // part of the error of Check, or "" for a valid name
	}{
		{"ada", "ada", ""},
		{"Ünder", "Ünder", ""},
		{"ada@example.com", "ada@example.com", ""},
		{"a.b~c-d_e+f", "a.b~c-d_e+f", ""},
		{"a/b", "a%2Fb", ""},
		{`DOMAIN\alice`, "DOMAIN%5Calice", ""},
		{"../ada", "%2E.%2Fada", ""},
		{"/etc/passwd", "%2Fetc%2Fpasswd", ""},
		{".", "%2E", ""},
		{"..", "%2E.", ""},
		{".lock", "%2Elock", ""},
		{"~", "%7E", ""},
		{"ada~", "ada%7E", ""},
		{".~", "%2E%7E", ""},
		{"%", "%", ""},
		{"100%ada", "100%ada", ""},
		{"a%5Cb", "a%255Cb", ""},
		{"a%5cb", "a%5cb", ""},
		{"%25", "%2525", ""},
		{"%/", "%%2F", ""},
		{"ada.bak", "ada%2Ebak", ""},
		{".bak", "%2Ebak", ""},
		{"jane.old.dpkg-old", "jane.old%2Edpkg-old", ""},
		{"ada.bak.x", "ada.bak.x", ""},
		{"a#", "a#", ""},
		{strings.Repeat("n", 255), strings.Repeat("n", 255), ""},
		{strings.Repeat("n", 256), "", ""}, // longer than a file name
		{strings.Repeat("/", 86), "", ""},  // longer than a file name when it is encoded

		// These cannot be in a password file.
		{"ada lovelace", "ada lovelace", "contains white space or a colon"},
		{"a\u00a0b", "a\u00a0b", "contains white space or a colon"},
		{"a:b", "a:b", "contains white space or a colon"},
		{"#ada", "#ada", "starts with #"},
		{"a b/c", "", "contains white space or a colon"},
		{".a:b", "", "contains white space or a colon"},
		{"#ada~", "", "starts with #"},
		{"#ada#", "", "starts with #"},
		{"#", "", "starts with #"},

		{"", "", "empty user name"},
		{strings.Repeat("n", 257), "", "257 bytes"},
		{"ada\xff", "", "is not UTF-8"},
		{"ada\x00", "", "a control character"},
		{"ada\n", "", "a control character"},
		{"a\x1b[2Jda", "", "a control character"},
	} {
		err := username.Check(tt.name)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.20q: error %v, want %q", tt.name, err, tt.want)
		}
		file, err := username.ToFile(tt.name)
		if file != tt.file || (err == nil) != (tt.file != "") {
			t.Errorf("%.20q: the file is %q, error %v; want %q", tt.name, file, err, tt.file)
		}
		if tt.file == "" {
			continue
		}
		if name, ok := username.FromFile(file); !ok || name != tt.name {
			t.Errorf("%.20q: the file %q belongs to %q, %t", tt.name, file, name, ok)
		}
	}
}

// A file that ToFile never returns belongs to nobody, so that two files cannot hold the keys of one user.
func TestFilesOfNobody(t *testing.T) {
	for _, file := range []string{
		"", ".", "..", ".lock", "ada~", "#a~", "%61da%2E", "a%2Eb", "a%7Eb", "%252", "%25da", "a/b", `a\b`, "../ada", "%2Fa b", "a%2Fb:c",
		"ada.bak", "#ada#", "ada.orig", ".ada.swp", "ada.dpkg-old",
		"ada\n", "ada\xff", strings.Repeat("n", 256),
	} {
		if name, ok := username.FromFile(file); ok {
			t.Errorf("the file %q belongs to %q", file, name)
		}
	}
}

func FuzzToFile(f *testing.F) {
	for _, name := range []string{"ada", `DOMAIN\alice`, "../a/./b", "%2F", "%25%2E~", ".%7E~", "%%2%5C", "a b", "#:", "\xff\x00"} {
		f.Add(name, "%2Fada")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		for _, name := range []string{one, two} {
			file, err := username.ToFile(name)
			if err != nil {
				if username.Check(name) == nil && 3*len(name) <= 255 {
					t.Errorf("%q is valid and has no file: %v", name, err)
				}
				continue
			}
			if back, ok := username.FromFile(file); !ok || back != name {
				t.Errorf("the file %q of %q belongs to %q, %t", file, name, back, ok)
			}
			if strings.ContainsAny(file, `/\`) || file[0] == '.' || file[len(file)-1] == '~' || len(file) > 255 {
				t.Errorf("%q has the file %q", name, file)
			}
			if path := filepath.Join("keys", file); filepath.Dir(path) != "keys" || filepath.Base(path) != file || !filepath.IsLocal(file) {
				t.Errorf("%q leads to %q", name, path)
			}
		}
		if a, err := username.ToFile(one); err == nil && one != two {
			if b, err := username.ToFile(two); err == nil && a == b {
				t.Errorf("%q and %q share the file %q", one, two, a)
			}
		}
		if name, ok := username.FromFile(one); ok { // one as a file name
			if file, err := username.ToFile(name); err != nil || file != one {
				t.Errorf("the file %q belongs to %q, whose file is %q, %v", one, name, file, err)
			}
		}
	})
}

// A file system takes every file name of a user.
func TestFilesExist(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{strings.Repeat("n", 255), strings.Repeat("/", 85), ".", "..", "DOMAIN\\alice", "ünder:#"} {
		file, err := username.ToFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("%d files, %v", len(entries), err)
	}
}
