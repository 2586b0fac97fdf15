package work_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"foyer/middleware/work"
)

// counted is a connection that counts how often it is read.
type counted struct {
	net.Conn
	from  io.Reader
	reads int
}

func (c *counted) Read(p []byte) (int, error) { c.reads++; return c.from.Read(p) }

// What comes with a version line costs one call of the kernel, and no byte of it is lost, however it is asked for.
func TestReadAhead(t *testing.T) {
	const line = "SSH-2.0-foyer\r\n"
	text := line + strings.Repeat("x", 2000)
	c := &counted{from: strings.NewReader(text)}
	conn := new(work.All).Conn(c)
	got := make([]byte, len(line))
	for i := range got { // as x/crypto does (ssh/transport.go, readVersion)
		if _, err := io.ReadFull(conn, got[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if c.reads != 1 {
		t.Errorf("the line took %d reads", c.reads)
	}
	rest, err := io.ReadAll(conn)
	if err != nil || string(got)+string(rest) != text {
		t.Errorf("read %q and %d bytes, %v", got, len(rest), err)
	}
}
