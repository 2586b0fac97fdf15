package middleware

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"reflect"
	"runtime/debug"
	"sync"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/transport"
)

// unwrap returns the connection that [Stack.accept] gave to the library. The library's callbacks get it in a wrapper: in
// the exported field Conn of an unexported type. [checkLibrary] makes sure of that at start.
func unwrap(conn net.Conn) *Conn {
	wrapped := field(reflect.ValueOf(conn), "Conn")
	if !wrapped.IsValid() || !wrapped.CanInterface() {
		return nil
	}
	c, _ := wrapped.Interface().(*Conn)
	return c
}

// checkLibrary returns an error where the libraries do not look inside as foyer needs them to. It finds out by serving one
// connection in memory.
var checkLibrary = sync.OnceValue(func() error {
	var c Conn
	var wrapper, packets bool
	srv := &ssh.Server{
		ConnCallback: func(_ ssh.Context, conn net.Conn) net.Conn { c.Conn = transport.New(conn, "", &c); return &c },
		ServerConfigCallback: func(ssh.Context) *gossh.ServerConfig {
			return &gossh.ServerConfig{NoClientAuth: true, PreAuthConnCallback: func(conn gossh.ServerPreAuthConn) {
				packets = unreadPacketsOf(conn) != nil
				c.AuthStarted(conn.SendAuthBanner)
			}}
		},
		ConnectionCloseCallback: func(conn net.Conn) { wrapper = unwrap(conn) == &c },
	}
	if err := serveInMemory(srv); err != nil {
		return fmt.Errorf("check the SSH library: %w", err)
	}
	switch {
	case !wrapper:
		return fmt.Errorf("charm.land/ssh %s hides a connection from its own callbacks", libraryVersion("charm.land/ssh"))
	case !packets:
		return fmt.Errorf("golang.org/x/crypto/ssh %s keeps its unread packets elsewhere", libraryVersion("golang.org/x/crypto"))
	}
	return nil
})

// serveInMemory has a client log in to srv and leave.
func serveInMemory(srv *ssh.Server) error {
	_, private, keyErr := ed25519.GenerateKey(nil)
	signer, err := gossh.NewSignerFromKey(private)
	if err := errors.Join(keyErr, err); err != nil {
		return err
	}
	srv.AddHostKey(signer)
	client, server := net.Pipe()
	writes, served := make(chan []byte, 16), make(chan struct{})
	go func() {
		for {
			select {
			case p := <-writes:
				_, _ = server.Write(p)
			case <-served:
				return
			}
		}
	}()
	go func() {
		defer close(served)
		srv.HandleConn(buffered{server, writes, served})
	}()
	_, _, _, err = gossh.NewClientConn(client, "", &gossh.ClientConfig{HostKeyCallback: gossh.FixedHostKey(signer.PublicKey())})
	_ = client.Close()
	<-served
	return err
}

// buffered is a connection whose writes do not wait for the reader, because both sides send their version first.
type buffered struct {
	net.Conn
	writes chan<- []byte
	closed <-chan struct{}
}

func (b buffered) Write(p []byte) (int, error) {
	select {
	case b.writes <- bytes.Clone(p):
		return len(p), nil
	case <-b.closed:
		return 0, net.ErrClosed
	}
}

// libraryVersion returns the version of a module that is built in.
func libraryVersion(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == path {
			return module.Version
		}
	}
	return "of an unknown version"
}
