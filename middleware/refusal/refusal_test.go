package refusal_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"foyer/middleware/refusal"
)

func TestToolOf(t *testing.T) {
	for _, tt := range []struct {
		command, subsystem string
		want               refusal.Tool
	}{
		{"", "", refusal.Command},
		{"uname -a", "", refusal.Command},
		{"/bin/sh -c x", "", refusal.Command},
		{"", "netconf", refusal.Command},
		{"git-upload-pack /r.git", "", refusal.Git},
		{"/usr/bin/git-receive-pack r", "", refusal.Git},
		{"git upload-archive r", "", refusal.Git},
		{"git", "", refusal.Command},
		{"git log", "", refusal.Command},
		{"git-shell", "", refusal.Command},
		{"scp -f file", "", refusal.SCP},
		{"/usr/bin/scp -t .", "", refusal.SCP},
		{"rsync --server --sender . .", "", refusal.Files},
		{"", "sftp", refusal.SFTP},
		{"/usr/lib/openssh/sftp-server -l INFO", "", refusal.SFTP},
	} {
		if got := refusal.ToolOf(strings.Fields(tt.command), tt.subsystem); got != tt.want {
			t.Errorf("%q %q is %d, want %d", tt.command, tt.subsystem, got, tt.want)
		}
	}
}

func TestSentence(t *testing.T) {
	for tool, want := range map[refusal.Tool]string{
		refusal.Command: "runs no commands and transfers no files", refusal.Files: "transfers no files", refusal.SCP: "transfers no files",
		refusal.SFTP: "transfers no files", refusal.Git: "serves no repositories",
	} {
		if got := tool.Sentence(); got != "You are logged in, but this server "+want+"." {
			t.Errorf("%d: %q", tool, got)
		}
	}
}

// The length of a packet counts itself. A long text is cut at the end of a line, or of a character.
func TestGitError(t *testing.T) {
	if got := string(refusal.GitError("no\r\nway\n")); got != "000eERR no\nway" {
		t.Errorf("%q", got)
	}
	for text, want := range map[string]int{
		strings.Repeat("x", 1<<20):            65520,
		strings.Repeat("ä", 1<<19):            65520,
		"a" + strings.Repeat("ä", 1<<19):      65519,
		strings.Repeat("a line\n", 1<<17):     65513,
		"one\n" + strings.Repeat("x", 1<<20):  11,
		strings.Repeat("\xff", 1<<20) + "end": 8,
	} {
		got := refusal.GitError(text)
		if len(got) != want || string(got[:4]) != hex(want) || !utf8.Valid(got) {
			t.Errorf("%.10q: %d bytes that begin with %q, want %d", text, len(got), got[:8], want)
		}
	}
}

func hex(n int) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[n>>12&15], digits[n>>8&15], digits[n>>4&15], digits[n&15]})
}

// client is the client's end of SFTP: what it sends, and what it gets.
type client struct {
	io.Reader
	bytes.Buffer
}

func (c *client) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// message returns an SFTP message.
func message(kind byte, rest string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(1+len(rest)))) + string(kind) + rest
}

const (
	hello   = "\x00\x00\x00\x05\x01\x00\x00\x00\x03"
	version = "\x00\x00\x00\x05\x02\x00\x00\x00\x03"
)

// denied is the answer "no" to the request with this number.
func denied(number string) string {
	return message(101, number+"\x00\x00\x00\x03"+"\x00\x00\x00\x02no"+"\x00\x00\x00\x02en")
}

func TestServeSFTP(t *testing.T) {
	const realpath, stat = 16, 17
	for name, tt := range map[string]struct{ sent, want string }{
		"a polite client":            {hello + message(realpath, "\x00\x00\x00\x07\x00\x00\x00\x01."), version + denied("\x00\x00\x00\x07")},
		"two requests":               {hello + message(stat, "abcd") + message(stat, "efgh"), version + denied("abcd") + denied("efgh")},
		"no hello":                   {message(stat, "abcd"), denied("abcd")},
		"nothing":                    {"", ""},
		"half a message":             {hello + message(stat, "abcdefgh")[:12], version},
		"a message without a number": {hello + message(stat, "abc") + message(stat, "abcd"), version},
		"an empty message":           {"\x00\x00\x00\x00" + hello, ""},
		"a message that is too long": {hello + "\xff\xff\xff\xff\x11abcd" + strings.Repeat("x", 1<<20), version},
		"the longest message":        {hello + message(stat, "abcd"+strings.Repeat("x", 256<<10-5)) + message(stat, "efgh"), version + denied("abcd") + denied("efgh")},
		"another protocol":           {"GET / HTTP/1.1\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, asked := &client{Reader: strings.NewReader(tt.sent)}, 0
			if err := refusal.ServeSFTP(c, "no\n", func() { asked++ }); err == nil {
				t.Error("no error at the end")
			}
			if c.String() != tt.want {
				t.Errorf("answered %q, want %q", c.String(), tt.want)
			}
			if answers := strings.Count(tt.want, "\x02no") + strings.Count(tt.want, version); asked != answers {
				t.Errorf("%d answers, told of %d", answers, asked)
			}
		})
	}
}

// A client that never stops is not answered for ever, and a long text does not make a long answer.
func TestServeSFTPIsBounded(t *testing.T) {
	c := &client{Reader: strings.NewReader(strings.Repeat(message(17, "abcd"), 1000))}
	if err := refusal.ServeSFTP(c, strings.Repeat("x", 1<<20), func() {}); err != nil {
		t.Error(err)
	}
	if c.Len() > 100*1100 {
		t.Errorf("answered with %d bytes", c.Len())
	}
}
