package keyfile

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"
)

const edLine = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

// rsaLine returns a key, not a real one, whose modulus has that many bits, a multiple of 8.
func rsaLine(bits int) string {
	modulus := append([]byte{0}, slices.Repeat([]byte{0xff}, bits/8)...)
	blob := gossh.Marshal(struct{ N, E, M []byte }{[]byte("ssh-rsa"), []byte{1, 0, 1}, modulus})
	return "ssh-rsa " + base64.StdEncoding.EncodeToString(blob)
}

func TestParseKey(t *testing.T) {
	for _, tt := range []struct{ text, comment, want string }{ // want is part of the error
		{edLine, "", ""},
		{edLine + " ada at  home", "ada at  home", ""},
		{rsaLine(2048), "", ""},
		{rsaLine(4096), "", ""},
		{rsaLine(2040), "", "of 2040 bits"},
		{rsaLine(8200), "", "of 8200 bits"},
		{"rsa-sha2-256" + strings.TrimPrefix(rsaLine(2048), "ssh-rsa"), "", ""},
		{"rsa-sha2-384" + strings.TrimPrefix(rsaLine(2048), "ssh-rsa"), "", "a key of type ssh-rsa but names another"},
		{"rsa-sha2-256" + strings.TrimPrefix(edLine, "ssh-ed25519"), "", "a key of type ssh-ed25519 but names another"},
		{"---- BEGIN SSH2 PUBLIC KEY ----", "", "a public key in RFC 4716 format"},
		{"-----BEGIN PUBLIC KEY-----", "", "a public key in PKCS #8 format"},
		{"-----BEGIN RSA PUBLIC KEY-----", "", "a public key in PEM format"},
		{"restrict " + edLine, "", "not a public key"},
		{"", "", "not a public key"},
		{"ssh-ed25519 AAAA", "", "damaged"},
		{"ssh-ed25519 not/base64", "", "not base64"},
	} {
		_, comment, err := ParseKey(tt.text)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: error %v, want %q", tt.text, err, tt.want)
		}
		if comment != tt.comment {
			t.Errorf("%.40q: comment %q", tt.text, comment)
		}
	}
}

// opaque is a key with a type and nothing else.
type opaque string

func (o opaque) Type() string                        { return string(o) }
func (opaque) Marshal() []byte                       { return nil }
func (opaque) Verify([]byte, *gossh.Signature) error { return nil }

func TestStrong(t *testing.T) {
	for kind, strong := range map[string]bool{
		"ssh-ed25519": true, "sk-ssh-ed25519@openssh.com": true, "sk-ecdsa-sha2-nistp256@openssh.com": true,
		"ecdsa-sha2-nistp256": true, "ecdsa-sha2-nistp384": true, "ecdsa-sha2-nistp521": true,
		"ssh-rsa": false, "ssh-dss": false, "ssh-ed25519-cert-v01@openssh.com": false, "ssh-new@example.com": false, "": false,
	} {
		if err := Strong(opaque(kind)); (err == nil) != strong {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if err := Strong(&gossh.Certificate{Key: opaque("ssh-ed25519")}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a certificate: %v", err)
	}
}

func TestLines(t *testing.T) {
	for data, want := range map[string]string{
		"\ufeffone\r\n\n\t# no\n two \n#no\r\n\r\nsix#yes": "1=one;4=two;7=six#yes;",
		"one\r":               "1=one;",
		"one\r\r":             "1=one;",
		"one \r two\nthree\n": "1=one \r two;2=three;",
		"":                    "",
		"\n":                  "",
		"a":                   "1=a;",
		"ab\x00":              "1=ab\x00;",
		"\xff\xfea\x00":       "is in UTF-16, and must be in UTF-8",
		"\xfe\xff\x00a":       "is in UTF-16, and must be in UTF-8",
		"a\x00b\x00":          "is in UTF-16, and must be in UTF-8",
		"\x00a\x00b":          "is in UTF-16, and must be in UTF-8",
		"one\rtwo":            "has lines that end in CR, and must end in LF",
		"# no\rone\rtwo\r":    "has lines that end in CR, and must end in LF",
	} {
		lines, err := Lines(data)
		if err != nil {
			problem, ok := errors.AsType[*Error](err)
			if !ok || problem.Error() != want || problem.Hint() == "" {
				t.Errorf("%q: error %v, want %q and a hint", data, err, want)
			}
			continue
		}
		var got strings.Builder
		for number, text := range lines {
			fmt.Fprintf(&got, "%d=%s;", number, text)
		}
		if got.String() != want {
			t.Errorf("%q: lines %q, want %q", data, got.String(), want)
		}
		for range lines {
			break
		}
	}
}
