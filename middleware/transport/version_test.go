package transport_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"foyer/middleware/transport"
)

// A client that does not begin with a version line of SSH 2 is told so at once, whether its bytes come one by one or all
// together. Only the guess, for the log, needs more than the first ones.
func TestNotSSH(t *testing.T) {
	const refused = line + "Invalid SSH identification string.\r\n"
	for sent, guess := range map[string]string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":            "HTTP",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":             "HTTP",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": "TLS",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n":       "a PROXY header",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11":               "a PROXY header",
		"EHLO mail\r\n":                                "SMTP",
		"\x03\x00\x00\x13\x0e\xe0":                     "RDP",
		"SSH-1.5-old\r\n":                              "SSH 1",
		"\r\n":                                         "",
		"SSH-2.1-new\r\n":                              "",
		"hello\r\nSSH-2.0-late\r\n":                    "",
		"SSH-2.0":                                      "eof",
		"SSH-2.0-ok\r\n":                               "ok",
		"SSH-1.99-ok\r\n":                              "ok",
	} {
		for name, from := range map[string]io.Reader{"at once": strings.NewReader(sent), "byte by byte": bytewise{strings.NewReader(sent)}} {
			t.Run(name+" "+strings.Fields(sent + " x")[0], func(t *testing.T) {
				p := &peer{from: from}
				c, _ := wrap(p)
				err := c.Greet()
				wrong, not := errors.AsType[*transport.NotSSHError](err)
				switch guess {
				case "ok":
					if err != nil || p.text() != line {
						t.Errorf("error %v, answered %q", err, p.text())
					}
				case "eof":
					if err != io.EOF || p.text() != line {
						t.Errorf("error %v, answered %q", err, p.text())
					}
				default:
					if !not || wrong.Guess != guess && name == "at once" || p.text() != refused {
						t.Errorf("error %v, answered %q", err, p.text())
					}
				}
			})
		}
	}
}
