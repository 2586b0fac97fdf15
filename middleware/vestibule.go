package middleware

import (
	"bytes"
	"errors"
	"net"
	"time"

	"charm.land/ssh"
)

// readAhead is the longest version line with its line end (RFC 4253 section 4.2), and the beginning of what follows.
const readAhead = 512

// Vestibule returns the layer in which clients wait until they say something. Both sides send a version line at once (RFC
// 4253 section 4.2): the server's goes out here, and nothing more is made for a connection before the client's begins to
// come. So whoever is silent costs a place, and what the layers in front keep of it; this one belongs behind those that
// bound connections. The server's HandshakeTimeout counts here too, and again from the client's first word on; with
// [Deadlines] it counts once.
//
// What comes with the client's line is read at once. The library asks for it byte by byte, and the line would cost more
// calls of the kernel than all the rest of a login.
func Vestibule() Layer {
	return Layer{
		Name: "vestibule",
		Server: func(srv *ssh.Server) error {
			if srv.Version == "" {
				return errors.New("the server has no version to greet with")
			}
			version := []byte("SSH-2.0-" + srv.Version + "\r\n")
			return Hooks{Accept: func(_ ssh.Context, conn net.Conn) net.Conn {
				if srv.HandshakeTimeout > 0 {
					_ = conn.SetDeadline(time.Now().Add(srv.HandshakeTimeout))
				}
				ahead, err := exchange(conn, version)
				return &greeted{conn, version, ahead, err}
			}}.Add(srv)
		},
	}
}

// exchange sends the version line, and returns what the client has sent when it has begun to speak, or is gone.
func exchange(conn net.Conn, version []byte) (ahead []byte, err error) {
	if _, err := conn.Write(version); err != nil {
		return nil, err
	}
	var first [1]byte // all that is there for a client while it is silent
	if _, err := conn.Read(first[:]); err != nil {
		return nil, err
	}
	ahead = append(make([]byte, 0, readAhead), first[0])
	n, err := conn.Read(ahead[1:readAhead])
	return ahead[:1+n], err
}

// greeted is a connection on which the library has yet to write the version line, which the client has, and to read what
// the client has sent so far.
type greeted struct {
	net.Conn
	version []byte // nil once it is written; the writer's
	ahead   []byte // the reader's, and
	err     error  // what comes after that
}

// Write implements [net.Conn].
func (g *greeted) Write(p []byte) (int, error) {
	version := g.version
	g.version = nil
	if version != nil && bytes.Equal(p, version) {
		return len(p), nil
	}
	return g.Conn.Write(p)
}

// Read implements [net.Conn].
func (g *greeted) Read(p []byte) (int, error) {
	switch {
	case len(g.ahead) > 0:
		n := copy(p, g.ahead)
		if g.ahead = g.ahead[n:]; len(g.ahead) == 0 {
			g.ahead = nil // and its memory free
		}
		return n, nil
	case g.err != nil:
		return 0, g.err
	}
	return g.Conn.Read(p)
}
