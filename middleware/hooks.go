package middleware

import (
	"context"
	"errors"
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
	// Closed is called once for each connection that Accept has let in, when it is over, be it that another layer
	// refused it or that a panic ended it. The error is why nobody got in, and nil where authentication succeeded.
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
		var cfg *gossh.ServerConfig
		if before != nil {
			cfg = before(ctx)
		} else {
			cfg = &gossh.ServerConfig{}
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
		var served net.Conn
		defer func() {
			if served != nil {
				return
			}
			_ = conn.Close()
			if closed != nil {
				closed(conn) // neither after a refusal nor after a panic does the library tell those who have let it in
			}
		}()
		served = h.Accept(ctx, conn)
		return served
	}
}

// errHungUp is why a connection ended that neither succeeded nor failed at the handshake.
var errHungUp = errors.New("hung up before the handshake was over")

// addClosed brings together what the library tells in two callbacks, with the context that it tells in neither. The
// address leads back to it: a connection returns the same pointer for as long as it lives, and no other one does. The
// first layer that let a connection in finds it so, and tells the others.
func (h Hooks) addClosed(srv *ssh.Server) Hooks {
	var connections visits
	accept, closed := h.Accept, h.Closed
	beforeFailed, beforeClosed := srv.ConnectionFailedCallback, srv.ConnectionCloseCallback

	h.Accept = func(ctx ssh.Context, conn net.Conn) net.Conn {
		if accept != nil {
			conn = accept(ctx, conn)
		}
		if conn != nil {
			v := visitOf(ctx)
			if len(v.closed) == 0 {
				connections.add(conn.RemoteAddr(), v)
			}
			v.closed = append(v.closed, closed)
		}
		return conn
	}
	srv.ConnectionFailedCallback = func(conn net.Conn, err error) {
		if v := connections.of(conn.RemoteAddr()); v != nil {
			v.err = err
		}
		if beforeFailed != nil {
			beforeFailed(conn, err)
		}
	}
	srv.ConnectionCloseCallback = func(conn net.Conn) {
		if beforeClosed != nil {
			defer beforeClosed(conn) // even where a layer panics
		}
		if v := connections.remove(conn.RemoteAddr()); v != nil {
			v.over()
		}
	}
	return h
}

// visits are the connections that a layer was the first to let in, by the address of the peer.
type visits struct {
	mu sync.Mutex
	at map[net.Addr]*visit
}

func (s *visits) add(peer net.Addr, v *visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[net.Addr]*visit{}
	}
	s.at[peer] = v
}

func (s *visits) of(peer net.Addr) *visit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[peer]
}

func (s *visits) remove(peer net.Addr) *visit {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.at[peer]
	delete(s.at, peer)
	return v
}

// visit is a connection that was let in.
type visit struct {
	ctx    ssh.Context
	err    error // what the library said of it
	closed []func(ctx ssh.Context, err error)
	kept   []any
}

type visitKey struct{}

func visitOf(ctx ssh.Context) *visit {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		const layers = 6 // that the door's own stack has no more of
		v = &visit{ctx: ctx, closed: make([]func(ssh.Context, error), 0, layers), kept: make([]any, 0, layers)}
		ctx.SetValue(visitKey{}, v)
	}
	return v
}

// keep keeps what a layer has to know of the connection that ctx belongs to, in a type of the layer's own, before
// anybody asks for it: in Accept or Configure. A context's own values are a map, which costs more than all of them.
func keep(ctx ssh.Context, state any) {
	v := visitOf(ctx)
	v.kept = append(v.kept, state)
}

// kept returns what was kept of that type, or the zero value: at start, and where the layer is not in the stack.
func kept[T any](ctx context.Context) (state T) {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		for _, state := range v.kept {
			if state, ok := state.(T); ok {
				return state
			}
		}
	}
	return state
}

// over tells the layers that have let it in, those first that were last to.
func (v *visit) over() {
	n := len(v.closed)
	if n == 0 {
		return
	}
	closed := v.closed[n-1]
	v.closed = v.closed[:n-1]
	defer v.over() // even where a layer panics
	closed(v.ctx, v.end())
}

// end says why nobody got in. The library says nothing where a layer refused the connection or a panic ended it, and
// sets the context's connection where somebody did.
func (v *visit) end() error {
	if v.err == nil && v.ctx.Value(ssh.ContextKeyConn) == nil {
		return errHungUp
	}
	return v.err
}

// afterAttempts has tell hear of each attempt to authenticate, after the layers that were added before.
func afterAttempts(cfg *gossh.ServerConfig, tell func(conn gossh.ConnMetadata, method string, err error)) {
	before := cfg.AuthLogCallback
	cfg.AuthLogCallback = func(conn gossh.ConnMetadata, method string, err error) {
		if before != nil {
			before(conn, method, err)
		}
		tell(conn, method, err)
	}
}

// afterKeyExchange has tell hear that the first key exchange is over, after the layers that were added before.
func afterKeyExchange(cfg *gossh.ServerConfig, tell func(conn gossh.ServerPreAuthConn)) {
	before := cfg.PreAuthConnCallback
	cfg.PreAuthConnCallback = func(conn gossh.ServerPreAuthConn) {
		if before != nil {
			before(conn)
		}
		tell(conn)
	}
}

// aroundSessions puts wrap around what serves the server's session channels, within what was put there before: layers
// that were added later meet a session first. That Stack has made the channel is certain.
func aroundSessions(srv *ssh.Server, wrap func(ssh.ChannelHandler) ssh.ChannelHandler) {
	srv.ChannelHandlers["session"] = wrap(srv.ChannelHandlers["session"])
}

// accepted is a channel that was asked for, and that whoever accepts it gets in the form that as gives it.
type accepted struct {
	gossh.NewChannel
	as func(gossh.Channel) gossh.Channel
}

// Accept implements [gossh.NewChannel].
func (a accepted) Accept() (gossh.Channel, <-chan *gossh.Request, error) {
	channel, requests, err := a.NewChannel.Accept()
	if err != nil {
		return nil, nil, err
	}
	return a.as(channel), requests, nil
}
