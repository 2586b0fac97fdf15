package budgets

import (
	"io"

	gossh "golang.org/x/crypto/ssh"
)

// Channel returns a channel of the connection as one whose input, once it is read, does not count any more.
func (c *Conn) Channel(accepted gossh.Channel) gossh.Channel { return channel{accepted, c} }

type channel struct {
	gossh.Channel
	conn *Conn
}

// Read implements [gossh.Channel].
func (c channel) Read(p []byte) (int, error) {
	n, err := c.Channel.Read(p)
	c.conn.consume(n)
	return n, err
}

// Stderr implements [gossh.Channel].
func (c channel) Stderr() io.ReadWriter { return stderr{c.Channel.Stderr(), c.conn} }

type stderr struct {
	io.ReadWriter
	conn *Conn
}

func (s stderr) Read(p []byte) (int, error) {
	n, err := s.ReadWriter.Read(p)
	s.conn.consume(n)
	return n, err
}
