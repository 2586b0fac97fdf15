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

// unwrap returns the connection that [Stack.accept] gave to charm.land/ssh, whose callbacks get it in a wrapper.
func unwrap(conn net.Conn) *Conn {
	at, _ := libraryLayout()
	return reflect.ValueOf(conn).Elem().Field(at.wrapped).Interface().(*Conn)
}

// layout says where the libraries keep what foyer needs and they do not export, as indices of fields.
type layout struct {
	wrapped    int // in the connection of charm.land/ssh: the one that ConnCallback returned
	transport  int // in the connection of golang.org/x/crypto/ssh
	incoming   int // in that: the packets that were read ahead
	algorithms int // in that too: the algorithms of public keys
}

// transportField returns a field of the transport of golang.org/x/crypto/ssh.
func transportField[T any](conn gossh.ServerPreAuthConn, index int) *T {
	at, _ := libraryLayout()
	field := reflect.ValueOf(conn).Elem().Field(at.transport).Elem().Elem().Field(index)
	return (*T)(field.Addr().UnsafePointer())
}

// keyAlgorithmsOf returns the list in which x/crypto looks whether an algorithm of public keys is accepted. See
// keyCheck.refuse.
func keyAlgorithmsOf(conn gossh.ServerPreAuthConn) []string {
	at, _ := libraryLayout()
	return *transportField[[]string](conn, at.algorithms)
}

// libraryLayout finds the layout by serving one connection in memory. Its error names the library that looks otherwise.
var libraryLayout = sync.OnceValues(func() (at layout, err error) {
	var c Conn
	var wrapped, packets, algorithms, established bool
	c.moments = []Moments{{Established: func(conn gossh.Conn) {
		_, _, _ = conn.SendRequest("foyer", false, nil) // it panics before the end of the handshake; the client may be gone
		established = true
	}}}
	srv := &ssh.Server{
		ConnCallback: func(_ ssh.Context, conn net.Conn) net.Conn { c.Conn = transport.New(conn, "", &c); return &c },
		ServerConfigCallback: func(ssh.Context) *gossh.ServerConfig {
			accepted := func(gossh.ConnMetadata, string, error) { c.reach(Authenticated) }
			return &gossh.ServerConfig{NoClientAuth: true, AuthLogCallback: accepted, PreAuthConnCallback: func(conn gossh.ServerPreAuthConn) {
				c.established, _ = conn.(gossh.Conn)
				c.AuthStarted(conn.SendAuthBanner)
				var transport reflect.Value
				transport, at.transport = fieldOf(reflect.ValueOf(conn), "transport")
				at.incoming, packets = typedField[chan []byte](transport, "incoming")
				at.algorithms, algorithms = typedField[[]string](transport, "publicKeyAuthAlgorithms")
			}}
		},
		ConnectionCloseCallback: func(conn net.Conn) {
			var found reflect.Value
			found, at.wrapped = fieldOf(reflect.ValueOf(conn), "Conn")
			wrapped = found.IsValid() && found.CanInterface() && found.Interface() == any(&c)
		},
	}
	err = serveInMemory(srv)
	switch {
	case err != nil:
		return at, fmt.Errorf("check the SSH library: %w", err)
	case !wrapped:
		return at, fmt.Errorf("charm.land/ssh %s hides a connection from its own callbacks", libraryVersion("charm.land/ssh"))
	case !established:
		return at, fmt.Errorf("charm.land/ssh %s does not say when a handshake is over", libraryVersion("charm.land/ssh"))
	case !packets:
		return at, fmt.Errorf("golang.org/x/crypto/ssh %s keeps its unread packets elsewhere", libraryVersion("golang.org/x/crypto"))
	case !algorithms:
		return at, fmt.Errorf("golang.org/x/crypto/ssh %s keeps its algorithms elsewhere", libraryVersion("golang.org/x/crypto"))
	}
	return at, nil
})

// fieldOf returns a field of the struct that v, or what v holds, points to, with its index, or the zero Value.
func fieldOf(v reflect.Value, name string) (reflect.Value, int) {
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return reflect.Value{}, 0
	}
	field, ok := v.Elem().Type().FieldByName(name)
	if !ok || len(field.Index) != 1 {
		return reflect.Value{}, 0
	}
	return v.Elem().Field(field.Index[0]), field.Index[0]
}

// typedField returns the index of a field like fieldOf, and whether the field exists and has the type T.
func typedField[T any](v reflect.Value, name string) (index int, ok bool) {
	field, index := fieldOf(v, name)
	return index, field.IsValid() && field.Type() == reflect.TypeFor[T]()
}

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
