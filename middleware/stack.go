package middleware

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
	"weak"

	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/session"
	"foyer/middleware/transport"
)

const (
	// longWait is how long a client may take to read why it is disconnected, and shortWait how long it may where
	// many are disconnected at once.
	longWait  = time.Second
	shortWait = longWait / 200
	// defaultSlowDisconnects is how many have the long time at once. Each may hold a quarter of a megabyte meanwhile.
	defaultSlowDisconnects = 256
)

// Stack is a list of layers around a session handler. It installs itself on a server as the one set of callbacks from
// which the layers' moments are called, and it knows all connections of that server.
type Stack struct {
	// Sessions serves the sessions. It may be replaced until the stack is installed.
	Sessions *session.Channels
	// SlowDisconnects is how many clients at once have a second to read why they are disconnected: 256 by default. The others
	// have 5 ms.
	SlowDisconnects int
	// HostKeys returns the host keys of a new connection. If it is nil, they are those of the server.
	HostKeys func() HostKeys

	layers []Layer
	*connections
}

// HostKeys are the keys by which clients know a server.
type HostKeys struct {
	Used  []ssh.Signer // in key exchanges, with and without their certificates
	Other []ssh.Signer // those that clients only learn, or replace
}

// NewStack returns the stack of these layers. The list reads outermost first:
//
//	NewStack(a, b, c, Handler("h", h)) serves a(b(c(h)))
//
// That order holds for everything: Server, Connect, every moment, and Session. Only Closed runs in reverse.
func NewStack(layers ...Layer) *Stack {
	return newStack(layers, &connections{conns: map[*Conn]struct{}{}, expected: map[net.Conn]struct{}{}, drained: make(chan struct{})})
}

// Replace returns a stack of other layers for the same server, whose connections are the new ones. Those of s keep their
// layers, and both stacks know all of them.
func (s *Stack) Replace(layers ...Layer) *Stack { return newStack(layers, s.connections) }

func newStack(layers []Layer, all *connections) *Stack {
	return &Stack{Sessions: &session.Channels{}, layers: layers, connections: all}
}

// Names returns the names of the layers in their order.
func (s *Stack) Names() []string {
	var names []string
	for _, layer := range s.layers {
		if layer.Name != "" {
			names = append(names, layer.Name)
		}
	}
	return names
}

// Install makes srv serve the stack. It is an [ssh.Option], to be given after the options that add host keys and other
// handlers. A list in which no layer authenticates is an error, because the library would let everybody in: [Open] says
// so where that is meant.
func (s *Stack) Install(srv *ssh.Server) error {
	if s.slowDisconnects == nil {
		s.slowDisconnects = make(chan struct{}, cmp.Or(s.SlowDisconnects, defaultSlowDisconnects))
	}
	ensureMaps(srv)
	if err := s.prepare(srv); err != nil {
		return err
	}
	if _, err := libraryLayout(); err != nil {
		return err
	}
	methods, err := methodsOf(s.layers)
	if err != nil {
		return err
	}
	if err := checkServer(srv); err != nil {
		return err
	}
	s.installCallbacks(srv, methods)
	s.installHandlers(srv)
	return s.installSessions(srv)
}

// ensureMaps keeps what other packages may have added to the library's globals out of this server.
func ensureMaps(srv *ssh.Server) {
	if srv.RequestHandlers == nil {
		srv.RequestHandlers = map[string]ssh.RequestHandler{}
	}
	if srv.SubsystemHandlers == nil {
		srv.SubsystemHandlers = map[string]ssh.SubsystemHandler{}
	}
	if srv.ChannelHandlers == nil {
		srv.ChannelHandlers = map[string]ssh.ChannelHandler{}
	}
}

// prepare has each layer check its settings. A layer that stands in the list twice, or sets a callback that is the
// stack's, is an error.
func (s *Stack) prepare(srv *ssh.Server) error {
	for i, layer := range s.layers {
		same := func(other Layer) bool { return other.Name == layer.Name }
		if layer.Name != "" && slices.ContainsFunc(s.layers[:i], same) {
			return fmt.Errorf("layer %s: it stands in the list twice", layer.Name)
		}
		if layer.Server == nil {
			continue
		}
		before := callbacksOf(srv)
		if err := layer.Server(srv); err != nil {
			return fmt.Errorf("layer %s: %w", layer.Name, err)
		}
		if callbacksOf(srv) != before {
			return fmt.Errorf("layer %s: it sets a callback of the server, which are the stack's", layer.Name)
		}
	}
	return nil
}

// callbacksOf says which of the callbacks that the stack installs are set.
func callbacksOf(srv *ssh.Server) [5]bool {
	return [...]bool{
		srv.ConnCallback != nil, srv.ServerConfigCallback != nil, srv.ConnectionFailedCallback != nil,
		srv.ConnectionCloseCallback != nil, srv.PtyCallback != nil,
	}
}

// checkServer returns an error for what the stack cannot stand beside.
func checkServer(srv *ssh.Server) error {
	switch {
	case srv.PasswordHandler != nil || srv.PublicKeyHandler != nil || srv.KeyboardInteractiveHandler != nil:
		return errors.New("a handler of the server authenticates and would override the layers")
	case srv.ChannelHandlers["session"] != nil:
		return errors.New("the server has a session channel already")
	}
	return nil
}

// installCallbacks installs the callbacks. What the server has already is called first.
func (s *Stack) installCallbacks(srv *ssh.Server, methods *methods) {
	connect, configure := srv.ConnCallback, srv.ServerConfigCallback
	failed, closed, terminal := srv.ConnectionFailedCallback, srv.ConnectionCloseCallback, srv.PtyCallback
	srv.ConnCallback = func(ctx ssh.Context, conn net.Conn) net.Conn {
		if connect != nil {
			if conn = connect(ctx, conn); conn == nil {
				return nil
			}
		}
		return s.accept(srv, ctx, conn)
	}
	srv.ServerConfigCallback = func(ctx ssh.Context) *gossh.ServerConfig {
		cfg := &gossh.ServerConfig{}
		if configure != nil {
			cfg = configure(ctx)
		}
		c := ConnOf(ctx)
		c.configure(cfg)
		methods.restrict(c, cfg, srv)
		srv.HostSigners = c.useHostKeys(s.currentHostKeys(srv)) // the server is locked here, and reads them next
		cfg.ServerVersion = versionOf(srv)
		return cfg
	}
	srv.ConnectionFailedCallback = func(conn net.Conn, err error) {
		unwrap(conn).fail(err)
		if failed != nil {
			failed(conn, err)
		}
	}
	srv.ConnectionCloseCallback = func(conn net.Conn) {
		if closed != nil {
			defer closed(conn) // even where a layer panics
		}
		unwrap(conn).over()
	}
	srv.PtyCallback = func(ctx ssh.Context, pty ssh.Pty) bool {
		return (terminal == nil || terminal(ctx, pty)) && ConnOf(ctx).permitsTerminal(pty)
	}
}

// installHandlers puts the layers around every channel and every global request.
func (s *Stack) installHandlers(srv *ssh.Server) {
	srv.ChannelHandlers["session"] = s.Sessions.Handle
	s.Sessions.Open = &s.sessions
	s.Sessions.Hold = func(ctx ssh.Context) func() error {
		c := ConnOf(ctx)
		c.Hold()
		return c.Release
	}
	s.Sessions.Ended = func(ctx ssh.Context, n int) { ConnOf(ctx).sessionEnded(n) }
	if srv.ChannelHandlers["default"] == nil {
		srv.ChannelHandlers["default"] = func(_ *ssh.Server, _ *gossh.ServerConn, opened gossh.NewChannel, _ ssh.Context) {
			_ = opened.Reject(gossh.UnknownChannelType, "there are sessions here, and nothing else")
		}
	}
	for name, next := range srv.ChannelHandlers {
		srv.ChannelHandlers[name] = openChannel(next)
	}
	if srv.RequestHandlers["default"] == nil {
		srv.RequestHandlers["default"] = func(ssh.Context, *ssh.Server, *gossh.Request) (bool, []byte) { return false, nil }
	}
	for name, next := range srv.RequestHandlers {
		srv.RequestHandlers[name] = func(ctx ssh.Context, srv *ssh.Server, req *gossh.Request) (bool, []byte) {
			c := ConnOf(ctx)
			if c.work(GlobalRequest, 1) != nil {
				return false, nil
			}
			granted, reply := next(ctx, srv, req)
			if !granted {
				c.noteForwarding(req.Type)
			}
			return granted, reply
		}
	}
}

func openChannel(next ssh.ChannelHandler) ssh.ChannelHandler {
	return func(srv *ssh.Server, conn *gossh.ServerConn, opened gossh.NewChannel, ctx ssh.Context) {
		c := ConnOf(ctx)
		defer c.leave(opened.ChannelType())
		if err := c.open(opened); err != nil {
			// A client that reads nothing does not take this either.
			defer time.AfterFunc(session.DefaultWriteTimeout, func() { _ = c.Close() }).Stop()
			_ = opened.Reject(gossh.ResourceShortage, err.Error())
			return
		}
		next(srv, conn, channel{opened, c}, ctx)
	}
}

// installSessions composes what serves the sessions. A subsystem that has a handler of its own is served by that, inside
// all layers.
func (s *Stack) installSessions(srv *ssh.Server) error {
	var handler ssh.Handler
	for i, layer := range s.layers {
		if layer.Handler == nil {
			continue
		}
		if i < len(s.layers)-1 {
			return fmt.Errorf("layer %s: a handler ends the list, and there are layers after it", layer.Name)
		}
		handler = layer.Handler
	}
	if handler == nil {
		return errors.New("the last layer has no handler to serve sessions with")
	}
	inner := func(sess ssh.Session) {
		if session.InfoOf(sess).Truncated { // no handler may take the beginning of a command for the whole
			Tell(sess, "You are logged in, but the command is too long for this server.")
			_ = sess.Exit(1)
			return
		}
		if special := subsystem(srv, sess); special != nil {
			special(sess)
			return
		}
		handler(sess)
	}
	// Wish runs the last middleware first, so its list is ours backwards.
	backwards := []wish.Middleware{func(ssh.Handler) ssh.Handler { return inner }}
	for _, layer := range slices.Backward(s.layers) {
		if layer.Session != nil {
			backwards = append(backwards, layer.Session)
		}
	}
	return wish.WithMiddleware(backwards...)(srv)
}

// subsystem returns the server's own handler for the subsystem that a session asked for, or nil.
func subsystem(srv *ssh.Server, sess ssh.Session) ssh.SubsystemHandler {
	if len(srv.SubsystemHandlers) == 0 || sess.Subsystem() == "" {
		return nil
	}
	if special := srv.SubsystemHandlers[sess.Subsystem()]; special != nil {
		return special
	}
	return srv.SubsystemHandlers["default"]
}

// versionOf returns the version that srv announces: x/crypto's where it has none of its own.
func versionOf(srv *ssh.Server) string { return "SSH-2.0-" + cmp.Or(srv.Version, "Go") }

var errClosing = errors.New("this server is closing, please come back later")

// accept has the layers see a new connection, and returns it when the client has sent something; nil if it is refused.
func (s *Stack) accept(srv *ssh.Server, ctx ssh.Context, conn net.Conn) net.Conn {
	c := &Conn{context: ctx, stack: s, accepted: time.Now(), moments: make([]Moments, 0, len(s.layers))}
	c.Conn = transport.New(conn, versionOf(srv), c)
	ctx.SetValue(connKey{}, c)
	if !s.add(c, conn) {
		c.Disconnect(transport.ServiceNotAvailable, errClosing.Error())
		return nil
	}
	served := false
	defer func() {
		if !served { // refused, or a layer panics: the library calls nobody back
			_ = conn.Close()
			c.over()
		}
	}()
	for _, layer := range s.layers {
		if layer.Connect == nil {
			continue
		}
		moments, err := layer.Connect(c)
		if err != nil {
			return nil
		}
		c.moments = append(c.moments, moments)
	}
	if srv.HandshakeTimeout > 0 {
		_ = c.SetDeadline(time.Now().Add(srv.HandshakeTimeout))
	}
	err := c.Greet()
	if _, other := errors.AsType[*transport.NotSSHError](err); other {
		c.fail(err)
		return nil
	}
	if c.leftSilently(err) {
		return nil
	}
	served = true
	return c
}

// errSilent is why a connection ends whose client leaves without a byte, as port scanners and health checks do.
var errSilent = errors.New("the client has sent nothing")

// leftSilently reports whether the error of Greet means that the client has left without a byte, and not that the server has
// disconnected it.
func (c *Conn) leftSilently(err error) bool {
	if !left(err) || c.Stage() != Connected {
		return false
	}
	c.fail(errSilent)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == errSilent
}

// fail notes why nobody was authenticated. What was noted first is the cause of the rest.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = cmp.Or(c.err, err)
}

// AllowedHostKeys returns those of the host keys that the layers let the server use, restricted as they need.
func (s *Stack) AllowedHostKeys(keys []ssh.Signer) (allowed []ssh.Signer, err error) {
	for _, layer := range s.layers {
		if layer.HostKeys != nil && err == nil {
			keys, err = layer.HostKeys(keys)
		}
	}
	return keys, err
}

func (s *Stack) currentHostKeys(srv *ssh.Server) HostKeys {
	if s.HostKeys != nil {
		return s.HostKeys()
	}
	return HostKeys{Used: srv.HostSigners}
}

// useHostKeys returns the keys in use as this connection's, and remembers all.
func (c *Conn) useHostKeys(keys HostKeys) []ssh.Signer {
	own := make([]ssh.Signer, len(keys.Used))
	c.hostKeys = make([]ssh.Signer, 0, len(keys.Used)+len(keys.Other))
	for i, key := range keys.Used {
		if other, ok := key.(hostKey); ok {
			key = other.Signer
		}
		own[i] = hostKey{key, weak.Make(c)}
		c.hostKeys = append(c.hostKeys, key)
	}
	c.hostKeys = append(c.hostKeys, keys.Other...)
	return own
}
