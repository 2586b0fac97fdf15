package work

import (
	"io"

	gossh "golang.org/x/crypto/ssh"
)

// Channel returns a channel of the connection as one whose input, once it is read, does not count any more.
func (c *Conn) Channel(opened gossh.NewChannel) gossh.NewChannel { return newChannel{opened, c} }

type newChannel struct {
	gossh.NewChannel
	conn *Conn
}

// Accept implements [gossh.NewChannel].
func (n newChannel) Accept() (gossh.Channel, <-chan *gossh.Request, error) {
	accepted, requests, err := n.NewChannel.Accept()
	if err != nil {
		return nil, nil, err
	}
	return channel{accepted, n.conn}, requests, nil
}

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
