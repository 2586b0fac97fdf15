package passwords

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrLocked is wrapped by the error of a mark for an account without a valid password, as in /etc/shadow.
var ErrLocked = errors.New("locked account")

// locks matches those marks, alone or before the old hash: of Linux, the BSDs, Solaris and Django.
var locks = pattern(`^(?:[*!]+(?:$|\$)|NP$|UP$|LK$|\*?NOLOGIN$|\*[A-Z]+\*|![0-9A-Za-z]{40}$)`)

// others are the kinds of secrets of other programs that foyer cannot verify. Each form matches the whole secret or its
// start. A password that looks like one of them is refused too; it can be hashed with "foyer user add".
var others = []struct {
	what string
	form func() *regexp.Regexp
}{
	{"a hash of md5-crypt", pattern(`^\$(?:1|apr1)\$`)},
	{"a hash of sha256-crypt", pattern(`^\$5\$`)},
	{"a hash of phpass", pattern(`^\$[HPS]\$`)},
	{"a hash of LDAP or Dovecot", pattern(`^\{[0-9A-Za-z.-]+\}`)},
	// Two characters of salt and 64 bits: the last character encodes four of them, and two zero bits.
	{"a hash of DES crypt", pattern(`^[./0-9A-Za-z]{12}[.26AEIMQUYcgkosw]$`)},
	{"a hash of BSDi crypt", pattern(`^_[./0-9A-Za-z]{19}$`)},
	{"a hash of MySQL", pattern(`^\*[0-9A-Fa-f]{40}$`)},
	{"a hex digest", pattern(`^(?:md5|0x)?(?:[0-9A-Fa-f]{4}){4,32}$`)},
	{"a hash of Django or Werkzeug", pattern(`(?i)^(?:argon2\w*|bcrypt\w*|crypt|(?:unsalted_)?(?:md5|sha\d+)|pbkdf2\w*|scram-[\w-]+|scrypt)[$:]`)},
	{"a hash with something in front", pattern(`^[^$].*\$(?:argon2[a-z]*|2[abxy]|y|gy|[1567]|apr1)\$`)},
}

// refuse returns an error if text, without white space around it, is a lock or looks like a secret of others.
func refuse(text string) error {
	switch {
	case text == "x":
		return errors.New("x says that the hash is in another file, such as /etc/shadow")
	case locks().MatchString(text):
		return ErrLocked
	}
	for _, other := range others {
		if other.form().MatchString(text) {
			return fmt.Errorf("%s, which foyer cannot verify: %s", other.what, supported)
		}
	}
	if hash := strings.TrimLeft(text, "*!"); hash != text && refuse(hash) != nil {
		return ErrLocked
	}
	return nil
}

// accounts are the files of systems, by the number of fields of their lines. The hash is in the second field. A line of
// foyer has two fields.
var accounts = map[int]struct {
	what   string
	expiry int    // the field with the day or time after which the account is closed, or 0
	never  string // its value for an account that stays
}{
	7: {what: "/etc/passwd"}, 9: {"/etc/shadow", 7, ""}, 10: {"master.passwd", 6, "0"},
}

// foreign reports whether l is the line of another program's file.
func (l line) foreign() bool { return !l.comment() && strings.Count(l.text, ":") > 1 }

// refuseFields returns the error of a secret with a colon in it.
func refuseFields(text string) error {
	n := strings.Count(text, ":") + 2
	account, known := accounts[n]
	what := "a line of " + account.what
	switch err := refuse(text); {
	case known:
	case err != nil:
		return err
	case n == 3 && refuse(text[strings.Index(text, ":")+1:]) != nil:
		what = "a line of htdigest"
	default:
		what = "a password with a colon, or a line of another program"
	}
	return fmt.Errorf("%s: it has %d fields, and a line of this file has two, user:secret", what, n)
}

// checkText returns an error for data that is not UTF-8 text whose lines end in LF or CR LF, and a command that converts it.
func checkText(data string) (command string, err error) {
	rest := strings.ReplaceAll(strings.TrimSuffix(data, "\r"), "\r\n", "")
	switch {
	case strings.HasPrefix(data, "\xff\xfe"), strings.HasPrefix(data, "\xfe\xff"), strings.Contains(data, "\x00"):
		return "iconv -f UTF-16 -t UTF-8", errors.New("is UTF-16 or binary, not UTF-8")
	case strings.Contains(rest, "\r"):
		return `tr '\r' '\n'`, errors.New("has line endings that are CR without LF")
	}
	return "", nil
}

// FirstLine returns the first line of data, without its line ending and without a byte order mark. It returns an error for
// UTF-16 and for line endings that are CR without LF.
func FirstLine(data string) (string, error) {
	line, _, _ := strings.Cut(data, "\n")
	_, err := checkText(line)
	return strings.TrimRight(strings.TrimPrefix(line, "\ufeff"), "\r"), err
}
