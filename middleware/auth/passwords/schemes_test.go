//go:build !windows

package passwords

import (
	"strings"
	"testing"
)

func TestSchemes(t *testing.T) {
	for _, test := range []struct{ source, scheme, password, hash string }{
		{"argon2's src/test.c", "argon2id", "password",
			"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		{"argon2 -id -k 64 -t 2 -p 2 -l 24", "argon2id", "open sesame", cheapArgon},
		{"RFC 7914, section 12", "scrypt", "pleaseletmein",
			"$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$" +
				"cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw"},
		{"mkpasswd -m yescrypt -R 1", "yescrypt", "open sesame",
			"$y$j75$mS.XGIDHKOa79BGcBt1xw.$xEZ3r3J1DMcx1s6eJwW2SUB3.NYxrYsPG3FGDxz7X40"},
		{"mkpasswd -m yescrypt -R 3", "yescrypt", "open sesame",
			"$y$j7T$2TieD/MKvVKQSt2UGXPMi1$H/gYSJ.EcD5HzBMguuhcW6bwY/9XT4Wng3kzrI8cmu1"},
		{"mkpasswd -m yescrypt", "yescrypt", "open sesame",
			"$y$j9T$/3ZNaDZeMiHSfm/qKl5Bd.$1qoYprMMrCsncX5wZ4tjHgjW7J0Rqy9zvE2hf2CTnc4"},
		{"mkpasswd -m sha512crypt", "sha512-crypt", "open sesame",
			"$6$9.Eo7JwLto9otYDg$ZbHkemKZH3Kb/BxbNFglT7JXZf.xom1fFr6A2lZKbsT/R7hIudvXO98QRPxql1KY.yqh8.pwX/ScagA3TLS3W/"},
		{"mkpasswd -m sha512crypt -R 1000", "sha512-crypt", "open sesame", cheapSHA512},
		{"mkpasswd -m bcrypt -R 4", "bcrypt", "open sesame", "$2b$05$TXjO0k2F7LBXEOci1Zrl2.rpuwvij2N3olAjaNb0LgmDFOYuGKma2"},
		{"mkpasswd -m bcrypt-a -R 4", "bcrypt", "open sesame", cheapBcrypt},
		{"$2y$ is PHP's name for $2b$", "bcrypt", "open sesame", "$2y$05$TXjO0k2F7LBXEOci1Zrl2.rpuwvij2N3olAjaNb0LgmDFOYuGKma2"},
		{"no hash", "plain text", "hunter2", "hunter2"},
		{"no lock", "plain text", "!hunter2", "!hunter2"},
		{"13 characters that DES crypt cannot return", "plain text", "administrator", "administrator"},
		{"no hex digest", "plain text", "deadbeefcafe", "deadbeefcafe"},
		{"white space at the end", "plain text", "two  words ", "two  words "},
	} {
		s, err := parseSecret(test.hash)
		if err != nil {
			t.Errorf("%s: %v", test.source, err)
			continue
		}
		if s.scheme != test.scheme {
			t.Errorf("%s: scheme %q, want %q", test.source, s.scheme, test.scheme)
		}
		if !s.Match(test.password) {
			t.Errorf("%s: %q does not match", test.source, test.password)
		}
		if s.Match(test.password + "!") {
			t.Errorf("%s: a wrong password matches", test.source)
		}
	}
}

const (
	salt8 = "c29tZXNhbHQ"
	key16 = "AAAAAAAAAAAAAAAAAAAAAA"
	key43 = "xEZ3r3J1DMcx1s6eJwW2SUB3.NYxrYsPG3FGDxz7X40"
)

// lanes, memory, rounds, cost and setting return a well-formed hash with the given parameters.
func lanes(param string) string  { return "$argon2id$v=19$" + param + "$" + salt8 + "$" + key16 }
func memory(param string) string { return "$scrypt$" + param + "$" + salt8 + "$" + key16 }
func rounds(param string) string { return "$6$" + param + "abcdefgh$" + strings.Repeat("a", 86) }
func cost(head string) string {
	return head + "xPRrsjxjRfmJrBBwesey6ewbvlWf/JbNU1ix9OjPX2UTtTWDeiHzi"
}
func setting(param string) string { return "$y$" + param + "$mS.XGIDHKOa79BGcBt1xw.$" + key43 }

func TestBounds(t *testing.T) {
	for _, test := range []struct{ inside, outside string }{
		{lanes("m=262144,t=4,p=16"), lanes("m=262145,t=1,p=1")},
		{lanes("m=262144,t=4,p=1"), lanes("m=262144,t=5,p=1")},
		{lanes("m=128,t=1,p=16"), lanes("m=136,t=1,p=17")},
		{lanes("m=128,t=1,p=16"), lanes("m=127,t=1,p=16")},
		{lanes("m=8,t=131072,p=1"), lanes("m=8,t=9999999999,p=1")},
		{lanes("m=8,t=1,p=1"), lanes("m=9999999999,t=9999999999,p=9999999999")},
		{cost("$2b$04$"), cost("$2b$03$")},
		{cost("$2b$14$"), cost("$2b$15$")},
		{memory("ln=18,r=8,p=2"), memory("ln=18,r=8,p=3")},
		{memory("ln=21,r=1,p=1"), memory("ln=22,r=1,p=1")},
		{memory("ln=1,r=1048576,p=1"), memory("ln=1,r=2097152,p=1")},
		{memory("ln=1,r=1,p=1"), memory("ln=9999999999,r=1,p=1")},
		{memory("ln=1,r=1,p=1"), memory("ln=32,r=268435456,p=1")}, // 2^67
		{memory("ln=1,r=1,p=1"), memory("ln=64,r=9999999999,p=9999999999")},
		{setting("jDT"), setting("jET")},
		{setting("jF5"), setting("jF6")},
		{rounds("rounds=1000$"), rounds("rounds=999$")},
		{rounds("rounds=1000000$"), rounds("rounds=1000001$")},
	} {
		if _, err := parseSecret(test.inside); err != nil {
			t.Errorf("%s: %v", test.inside, err)
		}
		_, err := parseSecret(test.outside)
		if err == nil || !strings.Contains(err.Error(), "out of bounds") {
			t.Errorf("%s: error %v, want out of bounds", test.outside, err)
		}
	}
}

// Hashes at the bounds that are cheap do not make a library panic.
func TestMatchAtTheBounds(t *testing.T) {
	for _, hash := range []string{
		lanes("m=8,t=1,p=1"), lanes("m=128,t=1,p=16"), lanes("m=8,t=9,p=1"), cost("$2b$04$"), memory("ln=1,r=1,p=1"),
		memory("ln=1,r=999,p=9"), memory("ln=1,r=1,p=9999"), setting("j7."), setting("j7T"), rounds(""), rounds("rounds=1000$"),
	} {
		s, err := parseSecret(hash)
		must(t, err)
		if s.Match("open sesame") || s.Match("") || s.Match(strings.Repeat("a", maxPassword)) {
			t.Errorf("%s matches", hash)
		}
	}
}

func TestRefusedSecrets(t *testing.T) {
	for want, secrets := range map[string][]string{
		"empty secret": {"", " ", "\t\u00a0"},
		"locked account": {"*", "!", "!!", "!*", "*!", "!" + cheapSHA512, "!!" + cheapSHA512, "*" + cheapBcrypt,
			" !", "* ", "NP", "UP", "LK", "*NP*", "*LK*", "*LK*" + cheapSHA512, "*LOCKED*" + cheapBcrypt, "NOLOGIN", "*NOLOGIN",
			"!ab01FAX.bQRSU", "*ab01FAX.bQRSU", "!{SSHA}hunter2", "!_J9..rasmBYk8r9AiWNc", "!" + strings.Repeat("Ab0", 13) + "c"},
		"x says that the hash is in another file": {"x", " x "},
		"unknown kind of hash": {"$", "$$", "$7$CU..../....hunter2", "$gy$j9T$x$x",
			"$argon2i$v=19$m=64,t=2,p=2$c2FsdHlzYWx0$Srv5DdH6HxNT2DXxDnCm8Ik9LmVYZvjS", "$bcrypt-sha256$v=2,t=2b,r=5$x$x",
			"$pbkdf2-sha256$1$x$x", "{}", "{hunter2"},
		"a hash of md5-crypt":    {"$1$hunter2$", "$apr1$hunter2$x"},
		"a hash of sha256-crypt": {"$5$abcdefgh$" + key43},
		"a hash of phpass":       {"$P$hunter2", "$H$hunter2", "$S$hunter2"},
		"a hash of LDAP":         {"{CRYPT}" + cheapSHA512, "{ARGON2}" + cheapArgon, "{SSHA}hunter2", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="},
		"a hash of DES crypt":    {"ab01FAX.bQRSU", "rqXexS6ZhobKA", " rqXexS6ZhobKA"}, // crypt(3) and htpasswd -d
		"a hash of BSDi crypt":   {"_J9..rasmBYk8r9AiWNc"},                             // crypt(3)
		"a hash of MySQL":        {"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"},        // SELECT PASSWORD('password')
		"a hex digest": {"0cc175b9c0f1b6a8", "5f4dcc3b5aa765d61d8327deb882cf99", "md55f4dcc3b5aa765d61d8327deb882cf99",
			"5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8", strings.Repeat("0a", 32), "0x" + strings.Repeat("0A", 26), strings.Repeat("0a", 64)},
		"a hash of Django or Werkzeug": {"pbkdf2_sha256$600000$salt$aGFzaA==", "sha1$hunter2$x", "md5$hunter2$x", "scrypt$16384$hunter2$8$1$x",
			"argon2" + cheapArgon, "bcrypt_sha256$" + cheapBcrypt, "pbkdf2:sha256:600000$hunter2$x", "scrypt:32768:8:1$hunter2$x",
			"SCRAM-SHA-256$4096:hunter2$x:y"},
		"a hash with something in front": {" " + cheapSHA512, "\u00a0" + cheapSHA512, `"` + cheapBcrypt + `"`},
		"a line of /etc/shadow":          {cheapSHA512 + ":19000:0:99999:7:::", "!:19000:0:99999:7:::"},
		"white space after the colon":    {" hunter2", "\thunter2 "},
		"malformed argon2id": {"$argon2id$", cheapArgon + "$", cheapArgon + " ", cheapArgon + "=", cheapArgon + "\x00",
			"$argon2id$v=18$m=64,t=2,p=2$" + salt8 + "$" + key16, "$argon2id$m=64,t=2,p=2$" + salt8 + "$" + key16,
			lanes("m=64,t=2"), lanes("t=2,m=64,p=1"), lanes("m=0,t=2,p=1"), lanes("m=64,t=-2,p=1"), lanes("m=064,t=2,p=1"),
			lanes("m=99999999999,t=1,p=1"), "$argon2id$v=19$m=64,t=2,p=2$" + salt8 + "$AA", "$argon2id$v=19$m=64,t=2,p=2$c2FsdA$" + key16,
			"$argon2id$v=19$m=64,t=2,p=2$" + salt8 + "$" + key16 + "AAA"},
		"malformed bcrypt": {"$2", "$2$05$x", cost("$2x$05$"), cost("$2$05$"), cost("$2b$5$"), cost("$2b$-5$"),
			cheapBcrypt + "a", cheapBcrypt[:59]},
		"malformed scrypt": {memory("ln=-1,r=8,p=1"), memory("ln=0,r=8,p=1"), memory("ln=4,r=0,p=1"), memory("ln=4,r=8"),
			"$scrypt$ln=4,r=8,p=1$" + salt8 + "$AA", "$scrypt$ln=4,r=8,p=1$$" + key16},
		"malformed yescrypt": {setting("j6T"), setting("jGT"), setting("j7U"), setting("j7"), setting("j7T/"), setting("/7T"), setting("k7T"), "$y$j7T$$" + key43,
			"$y$j7T$a$" + key43, "$y$j7T$mS.XGIDHKOa79BGcBt1xw.$" + key43[:42], "$y$j7T$mS.XGIDHKOa79BGcBt1xw.$" + key43[:42] + "z"},
		"malformed sha512-crypt": {"$6$", "$6$$" + strings.Repeat("a", 86), rounds("rounds=0$"), rounds("rounds=-1$"), rounds("rounds=$"),
			"$6$rounds=5000$" + strings.Repeat("a", 86), "$6$abcdefghabcdefghi$" + strings.Repeat("a", 86), cheapSHA512[:90]},
		"password has 1025 bytes": {strings.Repeat("a", 1025)},
	} {
		for _, text := range secrets {
			_, err := parseSecret(text)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("secret %q: error %v, want %q", text, err, want)
			}
		}
	}
}

// bcrypt ignores everything after 72 bytes, and cannot distinguish "a" from "a\x00a".
func TestWholeBcrypt(t *testing.T) {
	const ( // by crypt(3) of libxcrypt
		of72As = "$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe"
		ofA    = "$2b$04$abcdefghijklmnopqrstuuMFdJu9yVgmagVAIC24fOZkaFqd3s9JC"
	)
	for _, test := range []struct {
		hash, password string
		want           bool
	}{
		{of72As, strings.Repeat("a", 72), true},
		{of72As, strings.Repeat("a", 73), false},
		{of72As, strings.Repeat("a", 71), false},
		{ofA, "a", true},
		{ofA, "a\x00a", false},
	} {
		s, err := parseSecret(test.hash)
		must(t, err)
		if got := s.Match(test.password); got != test.want {
			t.Errorf("%d bytes, %q: match %v, want %v", len(test.password), test.password, got, test.want)
		}
	}
}

func TestNewHash(t *testing.T) {
	hash, err := newHash("open sesame")
	must(t, err)
	if want := "$argon2id$v=19$m=19456,t=2,p=1$"; !strings.HasPrefix(hash, want) {
		t.Errorf("hash %s, want %s…", hash, want)
	}
	s, err := parseSecret(hash)
	must(t, err)
	if !s.Match("open sesame") || s.Match("open barley") {
		t.Error("the hash does not match the password")
	}
	if again, _ := newHash("open sesame"); again == hash {
		t.Error("two hashes have the same salt")
	}
}
