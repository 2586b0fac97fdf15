//go:build !windows

package main

import (
	"crypto/rand"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

// forgeries are texts that could forge lines or keys of the log, or control a terminal.
var forgeries = []string{
	"a\n2026-01-01T00:00:00.000Z level=info msg=\"authentication succeeded\" user=root forged=1",
	"a\r\n00:00:00 INFO authentication succeeded user=root forged=1\r\n",
	"a\",\"msg\":\"authentication succeeded\",\"forged\":\"1\"}\n{\"level\":\"info\",\"forged\":\"1\"}",
	`a" forged="1" b="`, "a forged=1", `a\" forged=1`, "\x1b[2K\x1b[1A\x1b]0;t\x07\x9b31m\x90", "\u202e\u2066\u200b\ufeff\u2028\u0085",
	"\x00\x08\x7f\xff\xfe", "\"", "\\", "=", "forged=1",
}

// TestHostileLog puts forgeries into every field that a peer chooses, and parses the log.
func TestHostileLog(t *testing.T) {
	for _, format := range []struct {
		name string
		read func(line string) (fields map[string]string, ok bool)
	}{{"text", readLine}, {"logfmt", readLogfmt}, {"json", readJSON}} {
		t.Run(format.name, func(t *testing.T) {
			t.Parallel()
			h := startTarget(t, "--penalties=false", "--log-level", "debug", "--log-rate", "-1", "--log-format", format.name)
			a := newAttacker(t, h)
			defer a.leave()
			for _, text := range forgeries {
				a.forge(text)
			}
			h.forgedCertificates(a)
			h.visit(t)
			h.settle(t)
			checkLog(t, h.process.log(t), format.read)
		})
	}
}

// forge puts text into every field that a client chooses. It returns when the server has closed all of the connections.
func (a *attacker) forge(text string) {
	line := strings.NewReplacer("\n", "", "\r", "\x0b").Replace(text)
	version := &client{a: a, conn: a.dial()}
	version.Raw = sshtest.NewRaw(version.conn)
	a.must(version.Greet("SSH-2.0-" + line))
	_ = version.Keys(sshtest.Curve25519)
	_ = version.Service("ssh-userauth")
	_, _ = version.Password("guest", text)
	version.halfClose()

	for _, fields := range [][3]string{{text, connection, "password"}, {text, connection, "none"}, {"guest", text, "none"}, {"guest", connection, text}} {
		c := a.handshaken()
		_, _ = c.Attempt(fields[0], fields[1], fields[2], sshtest.Fields(false, text))
		c.halfClose()
	}
	for _, packets := range [][][]byte{
		{msg(sshtest.MsgServiceRequest, text)},
		{sshtest.InitOf(text, text, text, text, text, text, text, text, text, text)},
		{msg(sshtest.MsgDisconnect, uint32(11), text, text)},
		{msg(sshtest.MsgDebug, true, text, text)},
		{attempt("guest", connection, "publickey", false, text, text)},
		{attempt("guest", connection, "publickey", true, "ssh-ed25519", text, text)},
	} {
		for _, stage := range []func(*attacker) *client{(*attacker).greeted, (*attacker).keyed, (*attacker).handshaken, (*attacker).authenticated} {
			c := stage(a)
			c.send(packets...)
			c.halfClose()
		}
	}
	a.forgeInside(text)
}

// forgeInside is forge of an authenticated client.
func (a *attacker) forgeInside(text string) {
	c := a.authenticated()
	c.send(msg(sshtest.MsgGlobalRequest, text, true), msg(sshtest.MsgChannelOpen, text, uint32(0), uint32(1<<20), uint32(1<<15)))
	c.halfClose()
	for _, begin := range [][]byte{request(0, "shell", true), request(0, "exec", true, text), request(0, "subsystem", true, text)} {
		c := a.session()
		c.send(ptyRequest(text, 80, 24, 0, 0, "\x00"), request(0, "env", true, text, text), request(0, "env", true, "LANG", text),
			request(0, "signal", true, text), request(0, text, true), begin)
		for range 6 { // all are answered
			_, err := c.Await(sshtest.MsgChannelSuccess, sshtest.MsgChannelFailure)
			a.must(err)
		}
		c.send(msg(sshtest.MsgChannelClose, uint32(0)), msg(sshtest.MsgDisconnect, uint32(11), text, text))
		c.halfClose()
	}
}

// halfClose closes the connection for writing, and waits until the server closes it.
func (c *client) halfClose() {
	_ = c.conn.CloseWrite()
	c.awaitClose(0)
	_ = c.conn.Close()
}

// forgedCertificates authenticates with certificates whose key ID, principals and options are forgeries.
func (h *target) forgedCertificates(a *attacker) {
	for _, text := range forgeries {
		key := sshtest.HostKey(a)
		cert := &gossh.Certificate{
			Key: key.PublicKey(), KeyId: text, CertType: gossh.UserCert, ValidPrincipals: []string{"guest", text},
			ValidBefore: gossh.CertTimeInfinity, Permissions: gossh.Permissions{Extensions: map[string]string{text: text}},
		}
		a.must(cert.SignCert(rand.Reader, sshtest.HostKey(a)))
		signer, err := gossh.NewCertSigner(cert, key)
		a.must(err)
		c := a.handshaken()
		_, _ = c.PublicKey("guest", signer)
		c.halfClose()
	}
}

// events are the events that the log may have.
var events = map[string]bool{
	"password file created": true, "host key created": true, "listening": true, "connection accepted": true, "connection closed": true,
	"authentication succeeded": true, "authentication failed": true, "authentication continues": true,
	"session opened": true, "session closed": true, "limit reached": true,
	"one processor is enough": true, "one processor is not enough": true,
}

// checkLog parses each line of a log, and fails the test where one was forged.
func checkLog(t *testing.T, text string, read func(string) (map[string]string, bool)) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Error("the log is not valid UTF-8")
	}
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), invisible) {
			t.Errorf("a line with invisible characters: %q", line)
		}
		fields, ok := read(strings.TrimSuffix(line, "\n"))
		switch _, forged := fields["forged"]; {
		case !ok:
			t.Errorf("a line that cannot be parsed: %q", line)
		case forged:
			t.Errorf("a forged line: %q", line)
		case !events[fields["msg"]]:
			t.Errorf("an unknown event: %q", line)
		case fields["msg"] == "authentication succeeded" && fields["user"] != "guest":
			t.Errorf("a login as another user: %q", line)
		}
	}
}

func invisible(r rune) bool { return !unicode.IsGraphic(r) || r == utf8.RuneError }

func readJSON(line string) (map[string]string, bool) {
	var values map[string]any
	if json.Unmarshal([]byte(line), &values) != nil {
		return nil, false
	}
	fields := map[string]string{}
	for key, value := range values {
		if text, ok := value.(string); ok {
			fields[key] = text
		}
	}
	return fields, true
}

// textLine is "16:20:00 INFO connection accepted conn=…".
var textLine = regexp.MustCompile(`^\d\d:\d\d:\d\d (?:DEBUG|INFO |WARN |ERROR) ([a-z ]+?)((?: [a-z]+=.*)?)$`)

func readLine(line string) (map[string]string, bool) {
	parts := textLine.FindStringSubmatch(line)
	if parts == nil {
		return nil, false
	}
	fields, ok := readPairs(parts[2])
	if ok {
		fields["msg"] = parts[1]
	}
	return fields, ok
}

func readLogfmt(line string) (map[string]string, bool) {
	if !strings.HasPrefix(line, "time=") {
		return nil, false
	}
	return readPairs(line)
}

// pair is key=value or key="value" with Go's escapes. A bare value has no space, no quote and no equals sign.
var pair = regexp.MustCompile(`^ ?([a-z]+)=("(?:[^"\\]|\\.)*"|[^\s"=]*)(?: |$)`)

func readPairs(line string) (map[string]string, bool) {
	fields := map[string]string{}
	for line != "" {
		match := pair.FindStringSubmatch(line)
		if match == nil {
			return nil, false
		}
		value := match[2]
		if strings.HasPrefix(value, `"`) {
			var err error
			if value, err = strconv.Unquote(value); err != nil {
				return nil, false
			}
		}
		if _, twice := fields[match[1]]; twice {
			return nil, false
		}
		fields[match[1]], line = value, line[len(match[0]):]
	}
	return fields, true
}
