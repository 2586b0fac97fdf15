//go:build !windows

package authorizedkeys

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/keyfile"
)

// nullReader is a source of randomness that is good enough for a test.
type nullReader struct{}

func (nullReader) Read(p []byte) (int, error) { return len(p), nil }

func newSigner(t testing.TB) gossh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	signer, err := gossh.NewSignerFromKey(private)
	must(t, err)
	return signer
}

func newKey(t testing.TB) gossh.PublicKey { return newSigner(t).PublicKey() }

// text returns the line of a key in a file.
func text(key gossh.PublicKey) string { return string(gossh.MarshalAuthorizedKey(key)) }

const (
	edLine = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	skLine = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJlAAAABHNzaDo="
)

// The weak keys are not real. They are refused before anything uses them.
var (
	dsaLine      = keyLine("ssh-dss", gossh.Marshal(struct{ N, P, Q, G, Y []byte }{[]byte("ssh-dss"), number(128), number(20), []byte{2}, []byte{3}}))
	shortRSALine = keyLine("ssh-rsa", gossh.Marshal(struct{ N, E, M []byte }{[]byte("ssh-rsa"), []byte{1, 0, 1}, number(128)}))
	longRSALine  = keyLine("ssh-rsa", gossh.Marshal(struct{ N, E, M []byte }{[]byte("ssh-rsa"), []byte{1, 0, 1}, number(1025)}))
	goodRSALine  = keyLine("ssh-rsa", gossh.Marshal(struct{ N, E, M []byte }{[]byte("ssh-rsa"), []byte{1, 0, 1}, number(512)}))
)

// number returns a positive mpint with that many bytes and the highest bit set (RFC 4251, section 5).
func number(bytes int) []byte { return append([]byte{0}, slices.Repeat([]byte{0xff}, bytes)...) }

func TestParseLine(t *testing.T) {
	for _, tt := range []struct{ line, want string }{ // want is part of the error, or "" for a valid line
		{edLine, ""},
		{edLine + " ada at home", ""},
		{strings.Replace(edLine, " ", "\t ", 1), ""},
		{skLine, ""},
		{goodRSALine, ""},
		{"rsa-sha2-256" + strings.TrimPrefix(goodRSALine, "ssh-rsa"), ""},
		{"rsa-sha2-384" + strings.TrimPrefix(goodRSALine, "ssh-rsa"), "names another type"},
		{"restrict,pty " + edLine, ""},
		{"RESTRICT,No-PTY,no-x11-FORWARDING " + edLine, ""},
		{`from="10.0.0.1,*" ` + edLine, ""},
		{`from="10.0.0.1", ` + edLine, ""},
		{`from="10.0.0.1",,pty ` + edLine, ""},
		{`pty, ` + edLine, ""},
		{`,pty ` + edLine, ""},
		{`from="10.0.0.1"pty ` + edLine, "separated by commas"},
		{`from="10.0.0.1, 10.0.0.2" ` + edLine, "from has a blank"},
		{`from="ab" ` + edLine, "neither an address"},
		{`from="10.0.0.1` + edLine, "not a public key"},
		{`from=10.0.0.1 ` + edLine, "quotation marks"},
		{`from ` + edLine, "from needs exactly one list"},
		{`from="10.0.0.1",from="10.0.0.2" ` + edLine, "from needs exactly one list"},
		{`pty="yes" ` + edLine, `"pty" cannot be honoured`},
		{`restrict="" ` + edLine, `"restrict" cannot be honoured`},
		{`no-restrict ` + edLine, `"no-restrict" cannot be honoured`},
		{`no-no-pty ` + edLine, `"no-no-pty" cannot be honoured`},
		{`command="say \"a b\", c" ` + edLine, `"command" cannot be honoured`},
		{`environment="A=\"b\"" ` + edLine, `"environment" cannot be honoured`},
		{`principals="ada" ` + edLine, `"principals" cannot be honoured`},
		{`permitopen="h:1" ` + edLine, `"permitopen" cannot be honoured`},
		{`permitlisten="1" ` + edLine, `"permitlisten" cannot be honoured`},
		{`tunnel="0" ` + edLine, `"tunnel" cannot be honoured`},
		{"verify-required " + skLine, `"verify-required" cannot be honoured`},
		{"no-touch-required " + skLine, "has to be touched"},
		{"touch-required " + skLine, `"touch-required" cannot be honoured`},
		{"Cert-Authority " + edLine, "cert-authority is not supported"},
		{"unknown-option " + edLine, `"unknown-option" cannot be honoured`},
		{"zone-transfer/" + strings.Repeat("b3BlbnNzaC1rZXktdjEAAAAABG5vbmU", 2) + " " + edLine, "invalid options"},
		{`expiry-time="20301231" ` + edLine, ""},
		{`expiry-time="soon" ` + edLine, "expiry-time"},
		{"pty pty " + edLine, "not a public key"},
		{"ssh-ed25519", "not a public key"},
		{"restrict", "not a public key"},
		{"ssh-ed25519 " + strings.Fields(skLine)[1], "a key of type sk-ssh-ed25519@openssh.com but names another"},
		{"ssh-ed25519 AAAA", "damaged"},
		{"ssh-ed25519 ????", "not base64"},
		{strings.TrimRight(edLine, "l"), "not base64"},
		{edLine[:40], "damaged|not base64"},
		{dsaLine, "DSA"},
		{shortRSALine, "of 1024 bits"},
		{longRSALine, "of 8200 bits"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"},
		{"PuTTY-User-Key-File-3: ssh-ed25519", "a private key"},
		{"-----BEGIN PUBLIC KEY-----", "a public key in PKCS #8 format"},
		{"---- BEGIN SSH2 PUBLIC KEY ----", "a public key in RFC 4716 format"},
		{edLine + " " + strings.Repeat("x", keyfile.MaxLine), "the line has"},
	} {
		_, err := parseLine(tt.line)
		if (err == nil) != (tt.want == "") {
			t.Errorf("%.60q: error %v, want %q", tt.line, err, tt.want)
			continue
		}
		if err != nil && !slices.ContainsFunc(strings.Split(tt.want, "|"), func(want string) bool { return strings.Contains(err.Error(), want) }) {
			t.Errorf("%.60q: error %v, want %q", tt.line, err, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	data := "\ufeff# a comment\r\n" +
		"\t  # an indented one\r\n" +
		" \t" + edLine + " ada \r\n" +
		"garbage\n" +
		strings.Repeat("x", keyfile.MaxLine+1) + "\n" +
		"\r\n\n" +
		"restrict " + skLine // no line end
	lines, problems := parse("ada", data)
	if len(lines) != 2 || lines[0].number != 3 || lines[0].comment != "ada" || lines[1].number != 8 || lines[1].options != "restrict" {
		t.Errorf("lines %+v", lines)
	}
	if len(problems) != 2 || !strings.HasPrefix(problems[0].Error(), "ada:4: ") || !strings.HasPrefix(problems[1].Error(), "ada:5: the line has") {
		t.Errorf("problems %v", problems)
	}
}

// A file that has no lines, because of its encoding, is one problem.
func TestParseOtherText(t *testing.T) {
	for data, want := range map[string]string{
		"\xff\xfe" + strings.Join(strings.Split(edLine, ""), "\x00") + "\x00": "ada: is in UTF-16, and must be in UTF-8",
		"# the laptop\r" + edLine + "\r":                                      "ada: has lines that end in CR, and must end in LF",
	} {
		lines, problems := parse("ada", data)
		if len(lines) != 0 || len(problems) != 1 || problems[0].Error() != want {
			t.Errorf("%.20q: %d lines, problems %v; want %s", data, len(lines), problems, want)
		}
	}
}

func TestParseBounds(t *testing.T) {
	lines, problems := parse("ada", strings.Repeat(edLine+"\n", maxKeys+1))
	if len(lines) != maxKeys || len(problems) != 1 || !strings.Contains(problems[0].Error(), "more than 10000 keys") {
		t.Errorf("%d lines, problems %v", len(lines), problems)
	}
	_, problems = parse("ada", strings.Repeat("x\n", 1000))
	if len(problems) != maxProblems+1 || problems[maxProblems].Error() != "ada: 980 more lines are invalid" {
		t.Errorf("%d problems, the last %v", len(problems), problems[len(problems)-1])
	}
}

// An error does not quote a private key.
func TestParseQuotesNoSecrets(t *testing.T) {
	const secret = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW"
	for _, line := range []string{secret, secret + " " + edLine, secret + "=\"" + secret + "\" " + edLine, "ssh-ed25519 " + secret, secret + "," + secret + " " + edLine} {
		if _, err := parseLine(line); err == nil || strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("%.20q: error %v", line, err)
		}
	}
}

func TestPermits(t *testing.T) {
	for options, want := range map[string]string{
		"":                                       "permit-X11-forwarding permit-agent-forwarding permit-port-forwarding permit-pty permit-user-rc",
		"no-pty":                                 "permit-X11-forwarding permit-agent-forwarding permit-port-forwarding permit-user-rc",
		"restrict":                               "",
		"restrict,pty":                           "permit-pty",
		",,restrict,,pty,":                       "permit-pty",
		"pty,restrict":                           "",
		"restrict,PTY,user-rc,no-pty":            "permit-user-rc",
		"no-x11-forwarding,no-user-rc":           "permit-agent-forwarding permit-port-forwarding permit-pty",
		"no-agent-forwarding,no-port-forwarding": "permit-X11-forwarding permit-pty permit-user-rc",
	} {
		r, err := parseOptions(options)
		must(t, err)
		var got []string
		for permit := range r.permissions().Extensions {
			got = append(got, permit)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s permits %q, want %q", options, got, want)
		}
	}
}

func TestExpiry(t *testing.T) {
	utc := time.Date(2030, 12, 31, 0, 0, 0, 0, time.UTC)
	local := time.Date(2030, 12, 31, 0, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"20301231":        local,
		"203012312359":    local.Add(23*time.Hour + 59*time.Minute),
		"20301231235958":  local.Add(24*time.Hour - 2*time.Second),
		"20301231Z":       utc,
		"20301231z":       utc,
		"20301231UTC":     utc,
		"203012310001Z":   utc.Add(time.Minute),
		"20301231000001Z": utc.Add(time.Second),
	} {
		var r rules
		must(t, r.expire(text))
		if !r.expires.Equal(want) {
			t.Errorf("%s is %v, want %v", text, r.expires, want)
		}
	}
	for _, text := range []string{"", "Z", "2030", "20301301", "20300230", "2030123124", "203012312400", "20301231235960", "2030-12-31", "+0301231", "20301231ZZ", "20301231235959.5Z", "00010101Z", "19691231Z"} {
		var r rules
		if err := r.expire(text); err == nil {
			t.Errorf("%q was parsed as %v", text, r.expires)
		}
	}
	r, err := parseOptions(`expiry-time="20310101Z",expiry-time="20301231Z",expiry-time="20320101Z"`)
	must(t, err)
	for _, tt := range []struct {
		at time.Time
		in bool
	}{{utc.Add(-time.Second), true}, {utc, false}, {utc.Add(time.Hour), false}} {
		if err := r.admit(netip.Addr{}, tt.at); (err == nil) != tt.in {
			t.Errorf("at %v: %v", tt.at, err)
		}
	}
}

func TestFrom(t *testing.T) {
	for _, tt := range []struct {
		list, addr string
		want       bool
	}{
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.70", false},
		{"192.0.2.0/24", "192.0.2.7", true},
		{"192.0.2.0/24", "192.0.3.7", false},
		{"192.0.2.*", "192.0.2.7", true},
		{"192.0.2.?", "192.0.2.77", false},
		{"*", "2001:db8::1", true},
		{"*.*", "2001:db8::1", false},
		{"2001:DB8::/32", "2001:db8::1", true},
		{"2001:DB8:*", "2001:db8::1", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"*,!192.0.2.7", "192.0.2.7", false},
		{"!192.0.2.7,*", "192.0.2.7", false},
		{"!192.0.2.*,192.0.2.7", "192.0.2.7", false},
		{"!192.0.2.7,*", "192.0.2.8", true},
		{"!192.0.2.7", "192.0.2.8", false}, // only the refusal matches
		{"192*", "192.0.2.7", true},
		{"*.7", "192.0.2.7", true},
		{"*.7", "192.0.2.70", false},
		{"192.*.2.*7", "192.0.2.117", true},
		{"192.*.3.*", "192.0.2.117", false},
		{"**192.0.2.7**", "192.0.2.7", true},
		{"192.0.2.7?", "192.0.2.7", false},
		{"???.?.?.?", "192.0.2.7", true},
		{"*:*1", "2001:db8::11", true},
		{strings.Repeat("*1", 10_000) + "2", "111.111.111.111", false},
	} {
		patterns, err := parsePatterns(tt.list)
		must(t, err)
		if got := matches(patterns, netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("from=%q from %s: %t", tt.list, tt.addr, got)
		}
		if matches(patterns, netip.Addr{}) {
			t.Errorf("from=%q matches an invalid address", tt.list)
		}
	}
	for _, list := range []string{
		"", "!", "10.0.0.1,", "10.0.0.1, 10.0.0.2", "*,! 10.0.0.1", "10.0.0.1\t", "example.com", "*.example.com", "!*.example.com,10.0.0.0/8", "*.de", "cafe", "host?", "10.0.0.0/33",
		"10.0.0.1/8", "10.0.0", "010.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1", "!::ffff:10.0.0.0/104", "10.0.0.0/8/8", "!!10.0.0.1", "10.0.0.*/24",
	} {
		if patterns, err := parsePatterns(list); err == nil {
			t.Errorf("from=%q is %v", list, patterns)
		}
	}
}

// Keys of ssh-keygen are accepted, and it shows the same fingerprints.
func TestKeygen(t *testing.T) {
	bin, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	for _, args := range [][]string{{"-t", "ed25519"}, {"-t", "ecdsa", "-b", "521"}, {"-t", "rsa", "-b", "2048"}} {
		path := filepath.Join(t.TempDir(), "id")
		if out, err := exec.Command(bin, append(args, "-q", "-N", "", "-C", "ada at home", "-f", path)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		public, err := os.ReadFile(path + ".pub")
		must(t, err)
		dir := newDir(t, nil)
		must(t, Add(dir, "ada", public))
		users, err := Open(dir, Options{}).Users()
		must(t, err)
		listed, err := exec.Command(bin, "-l", "-f", filepath.Join(dir, "ada")).Output()
		must(t, err)
		key := users[0].Keys[0]
		if !strings.Contains(string(listed), " "+key.Fingerprint+" "+key.Comment+" ") {
			t.Errorf("%+v, and ssh-keygen shows %s", key, listed)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		edLine, "restrict,pty " + skLine, dsaLine, "\ufeff#\r\n" + edLine, `from="!10.0.0.0/8,*",expiry-time="20301231Z" ` + edLine,
		`command="a \"b\"" ` + edLine, `from="` + edLine, "\x00\n\xff", `from="\`, `="",`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		lines, problems := parse("ada", data)
		texts, err := keyfile.Lines(data)
		if err != nil {
			if len(lines) != 0 || len(problems) != 1 {
				t.Errorf("%d lines and the problems %v, want %v", len(lines), problems, err)
			}
			return
		}
		all := 0
		for range texts {
			all++
		}
		if len(lines)+len(problems) > all+1 {
			t.Errorf("%d lines and %d problems out of %d", len(lines), len(problems), all)
		}
		for _, l := range lines {
			// The parsed options of a line are those of its text.
			key, err := gossh.ParsePublicKey(l.blob)
			if err != nil || keyfile.Strong(key) != nil {
				t.Errorf("line %d has an invalid key: %v", l.number, err)
			}
			again, err := parseOptions(l.options)
			if err != nil || len(again.from) != len(l.rules.from) || !again.expires.Equal(l.rules.expires) {
				t.Errorf("line %d: options %q do not parse again: %v", l.number, l.options, err)
			}
			if strings.Contains(strings.ToLower(l.options), "command") {
				t.Errorf("line %d: options %q were accepted", l.number, l.options)
			}
		}
	})
}

func keyLine(kind string, blob []byte) string {
	return kind + " " + base64.StdEncoding.EncodeToString(blob)
}
