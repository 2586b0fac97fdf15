// Package middleware holds foyer's layers, one file each, and what composes them.
//
// A [Layer] is one concern, whole, in one file: what it prepares on the server and what it does for each session.
// [Stack] composes layers around a session handler, outermost first. To add one, write a constructor that returns a
// Layer and put its line in the list in cmd/foyer/layers.go; where the line stands is the security decision.
package middleware

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"charm.land/ssh"
	"charm.land/wish/v2"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/session"
)

// Layer is one concern of the server. Either half may be nil; the zero Layer does nothing.
//
// A layer has no globals and keeps nothing of one session in the connection's context. Its constructor does no I/O,
// starts nothing and never panics: a bad setting surfaces from Server.
type Layer struct {
	// Name is one word for the operator: in the list that is printed at start, and in errors.
	Name string
	// Server prepares the server: authentication, PTY policy, [Hooks] into its connections. It never silently
	// replaces what another layer has set: it wraps it, or returns an error.
	Server ssh.Option
	// Session wraps the handler of each session. It calls next exactly once, or explains itself to the visitor
	// with [Tell] and ends the session.
	Session wish.Middleware
}

// Stack returns the option that makes a server serve handler behind layers:
//
//	Stack(h, a, b, c) serves a(b(c(h)))
//
// The list reads outermost first, in the order in which a visitor meets the layers, for both halves. A stack in
// which no layer authenticates is an error: the library would let everybody in. Say [Open] where that is meant.
func Stack(handler ssh.Handler, layers ...Layer) ssh.Option {
	return func(srv *ssh.Server) error {
		if srv.ChannelHandlers["session"] == nil {
			if err := new(session.Channels).Register(srv); err != nil {
				return err
			}
		}
		closeDefaults(srv)
		// Wish runs the last middleware first, so its list is ours backwards, with the handler at its head.
		backwards := []wish.Middleware{func(ssh.Handler) ssh.Handler { return handler }}
		for _, layer := range layers {
			if layer.Server != nil {
				if err := layer.Server(srv); err != nil {
					return fmt.Errorf("layer %s: %w", layer.Name, err)
				}
			}
			if layer.Session != nil {
				backwards = slices.Insert(backwards, 1, layer.Session)
			}
		}
		if srv.PasswordHandler != nil || srv.PublicKeyHandler != nil || srv.KeyboardInteractiveHandler != nil {
			return errors.New("an ssh.Server handler authenticates and would override the layers: use Hooks.Configure")
		}
		if !authenticates(config(srv)) {
			return errors.New("no layer authenticates: everybody would be let in")
		}
		return wish.WithMiddleware(backwards...)(srv)
	}
}

// closeDefaults keeps what other packages may have put in the library's globals out of this server.
func closeDefaults(srv *ssh.Server) {
	if srv.RequestHandlers == nil {
		srv.RequestHandlers = map[string]ssh.RequestHandler{}
	}
	if srv.SubsystemHandlers == nil {
		srv.SubsystemHandlers = map[string]ssh.SubsystemHandler{}
	}
}

// config returns the configuration that srv's connections get, as far as its layers have prepared it.
func config(srv *ssh.Server) *gossh.ServerConfig {
	if srv.ServerConfigCallback == nil {
		return &gossh.ServerConfig{}
	}
	return srv.ServerConfigCallback(&nobody{Context: context.Background()})
}

// authenticates reports whether somebody decided who gets in with cfg, be it that all do.
func authenticates(cfg *gossh.ServerConfig) bool {
	return cfg.PasswordCallback != nil || cfg.PublicKeyCallback != nil || cfg.KeyboardInteractiveCallback != nil ||
		cfg.GSSAPIWithMICConfig != nil || cfg.NoClientAuth
}

// nobody is an [ssh.Context] that belongs to no connection and holds nothing.
type nobody struct {
	context.Context
	sync.Mutex
}

func (*nobody) User() string          { return "" }
func (*nobody) SessionID() string     { return "" }
func (*nobody) ClientVersion() string { return "" }
func (*nobody) ServerVersion() string { return "" }
func (*nobody) RemoteAddr() net.Addr  { return &net.TCPAddr{} }
func (*nobody) LocalAddr() net.Addr   { return &net.TCPAddr{} }
func (*nobody) Permissions() *ssh.Permissions {
	return &ssh.Permissions{Permissions: &gossh.Permissions{}}
}
func (*nobody) SetValue(any, any) {}
