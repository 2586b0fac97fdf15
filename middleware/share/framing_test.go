package share

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

// answers is a connection that reads what the engine has sent.
type answers struct {
	net.Conn
	io.Reader
}

func (a answers) Read(p []byte) (int, error) { return a.Reader.Read(p) }
func (a answers) Close() error               { return nil }

// An answer whose lengths would end the process is an error before the library sees it, however it arrives.
func TestFraming(t *testing.T) {
	for text, valid := range map[string]bool{
		"+OK\r\n-ERR no\r\n:12\r\n_\r\n#t\r\n,1.5\r\n": true,
		"$5\r\n*9\r\n1\r\n$-1\r\n*-1\r\n*0\r\n":        true,
		"*2\r\n$3\r\nabc\r\n*1\r\n:1\r\n+OK\r\n":       true,
		"%1\r\n+a\r\n:1\r\n|1\r\n+b\r\n:2\r\n:3\r\n":   true,
		">3\r\n+message\r\n+x\r\n$2\r\n\r\n\r\n":       true,
		"$-2\r\n":                                      false, "*-2\r\n": false, "$9000000000000000000\r\n": false, "*2000000000\r\n": false, "$30000000000\r\n": false,
		"$?\r\n": false, "*?\r\n": false, "$x\r\n": false, "\r\n": false, "+" + strings.Repeat("x", maxLine) + "\r\n": false,
		strings.Repeat("*100000\r\n", 10): false, strings.Repeat("x", 2*maxLine): false,
	} {
		for _, reader := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
			got, err := io.ReadAll(&framedConn{Conn: answers{Reader: reader}})
			if valid && (err != nil || string(got) != text) {
				t.Errorf("%.40q is refused: %v", text, err)
			}
			if !valid && !errors.Is(err, errFraming) {
				t.Errorf("%.40q is read: %v", text, err)
			}
		}
	}
}

// Whatever the engine sends, no more is announced to the library than the bounds.
func FuzzFraming(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nabc\r\n:1\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &framedConn{Conn: answers{Reader: bytes.NewReader(data)}}
		_, _ = io.ReadAll(c)
		if c.items > maxItems+maxItems || c.left > 2*maxItems || c.skip > maxMessage+2 || len(c.line) > maxLine+512 {
			t.Errorf("%+v", c)
		}
	})
}
