package middleware

import (
	"net"
	"sync"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"
)

// Hooks are the moments in the life of a connection at which a layer can act; each may be nil. A layer's Server half
// is often just Hooks{…}.Add.
type Hooks struct {
	// Accept is called first, before a byte is exchanged. It returns the connection to serve, or nil to hang up.
	// A wrapper of conn is fine as long as it leaves RemoteAddr alone.
	Accept func(ctx ssh.Context, conn net.Conn) net.Conn
	// Configure prepares the handshake: authentication callbacks and algorithms. It is called once for each
	// connection, and at start with a context that belongs to none, to see what the layers have prepared.
	Configure func(ctx ssh.Context, cfg *gossh.ServerConfig)
	// Closed is called once for each connection that Accept has let in, when it is over. The error is why the
	// handshake or the authentication failed, and nil where they succeeded.
	Closed func(ctx ssh.Context, err error)
}

// Add puts the hooks on a server beside those that are there: layers that were added before accept first and hear
// last of the end. It is an [ssh.Option].
func (h Hooks) Add(srv *ssh.Server) error {
	if h.Configure != nil {
		h.addConfigure(srv)
	}
	if h.Closed != nil {
		h = h.addClosed(srv)
	}
	if h.Accept != nil {
		h.addAccept(srv)
	}
	return nil
}

func (h Hooks) addConfigure(srv *ssh.Server) {
	before := srv.ServerConfigCallback
	srv.ServerConfigCallback = func(ctx ssh.Context) *gossh.ServerConfig {
		cfg := &gossh.ServerConfig{}
		if before != nil {
			cfg = before(ctx)
		}
		h.Configure(ctx, cfg)
		return cfg
	}
}

func (h Hooks) addAccept(srv *ssh.Server) {
	before, closed := srv.ConnCallback, srv.ConnectionCloseCallback
	srv.ConnCallback = func(ctx ssh.Context, conn net.Conn) net.Conn {
		if before != nil {
			if conn = before(ctx, conn); conn == nil {
				return nil
			}
		}
		served := h.Accept(ctx, conn)
		if served == nil {
			_ = conn.Close()
			if closed != nil {
				closed(conn) // the library does not tell those who have let it in
			}
		}
		return served
	}
}

// addClosed brings together what the library tells in two callbacks, with the context that it tells in neither. The
// address leads back to it: a connection returns the same pointer for as long as it lives, and no other one does.
func (h Hooks) addClosed(srv *ssh.Server) Hooks {
	type connection struct {
		ctx ssh.Context
		err error
	}
	var connections sync.Map // by the net.Addr of the peer
	accept, closed := h.Accept, h.Closed
	beforeFailed, beforeClosed := srv.ConnectionFailedCallback, srv.ConnectionCloseCallback

	h.Accept = func(ctx ssh.Context, conn net.Conn) net.Conn {
		if accept != nil {
			conn = accept(ctx, conn)
		}
		if conn != nil {
			connections.Store(conn.RemoteAddr(), &connection{ctx: ctx})
		}
		return conn
	}
	srv.ConnectionFailedCallback = func(conn net.Conn, err error) {
		if c, ok := connections.Load(conn.RemoteAddr()); ok {
			c.(*connection).err = err
		}
		if beforeFailed != nil {
			beforeFailed(conn, err)
		}
	}
	srv.ConnectionCloseCallback = func(conn net.Conn) {
		if c, ok := connections.LoadAndDelete(conn.RemoteAddr()); ok {
			closed(c.(*connection).ctx, c.(*connection).err)
		}
		if beforeClosed != nil {
			beforeClosed(conn)
		}
	}
	return h
}
