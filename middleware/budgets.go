package middleware

import (
	"cmp"
	"crypto/rand"
	"io"
	"net"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/budgets"
	"foyer/middleware/eventlog/counters"
)

// Budgets returns the layer that bounds the work of each connection (package work): key exchanges, global requests,
// channels of other types than a session, and bytes that nobody reads. Whoever is over a budget is hung up on; counts,
// if it is not nil, says why, for the library has no SSH_MSG_DISCONNECT to send. What x/crypto answers by itself, such
// as ping@openssh.com, counts by its bytes. Host keys and handlers that a server gets behind its layers are not counted.
func Budgets(counts *counters.Counters) Layer {
	all := &budgets.All{Counters: counts}
	return Layer{
		Name: "budgets",
		Server: func(srv *ssh.Server) error {
			for i, key := range srv.HostSigners {
				counted, err := budgets.HostKey(key)
				if err != nil {
					return err
				}
				srv.HostSigners[i] = counted
			}
			countRequests(srv)
			countChannels(srv)
			return Hooks{
				Accept: func(ctx ssh.Context, conn net.Conn) net.Conn {
					counted := all.Conn(conn)
					keep(ctx, counted)
					return counted
				},
				Configure: countHandshake,
				Closed:    func(ctx ssh.Context, _ error) { kept[*budgets.Conn](ctx).Over() },
			}.Add(srv)
		},
	}
}

func countHandshake(ctx ssh.Context, cfg *gossh.ServerConfig) {
	conn := kept[*budgets.Conn](ctx)
	if conn == nil {
		return // at start
	}
	cfg.Rand = conn.Rand(cmp.Or[io.Reader](cfg.Rand, rand.Reader))
	afterKeyExchange(cfg, func(meta gossh.ServerPreAuthConn) {
		if err := conn.PreAuth(meta); err != nil {
			Logger(ctx).Error("connection refused", "err", err)
		}
	})
	afterAttempts(cfg, func(meta gossh.ConnMetadata, method string, err error) {
		if err == nil {
			conn.Authenticated()
		} else {
			conn.Remembered(len(err.Error())) // in which x/crypto quotes the client
		}
	})
}

func countRequests(srv *ssh.Server) {
	if srv.RequestHandlers["default"] == nil {
		srv.RequestHandlers["default"] = func(ssh.Context, *ssh.Server, *gossh.Request) (bool, []byte) { return false, nil }
	}
	for name, next := range srv.RequestHandlers {
		srv.RequestHandlers[name] = func(ctx ssh.Context, srv *ssh.Server, req *gossh.Request) (bool, []byte) {
			if !kept[*budgets.Conn](ctx).GlobalRequest() {
				return false, nil
			}
			return next(ctx, srv, req)
		}
	}
}

// countChannels counts the bytes of sessions, whose number is the limits layer's concern, and the number of all others.
func countChannels(srv *ssh.Server) {
	if srv.ChannelHandlers["default"] == nil {
		srv.ChannelHandlers["default"] = func(_ *ssh.Server, _ *gossh.ServerConn, opened gossh.NewChannel, _ ssh.Context) {
			_ = opened.Reject(gossh.UnknownChannelType, "there are sessions here, and nothing else")
		}
	}
	for name, next := range srv.ChannelHandlers {
		srv.ChannelHandlers[name] = func(srv *ssh.Server, conn *gossh.ServerConn, opened gossh.NewChannel, ctx ssh.Context) {
			w := kept[*budgets.Conn](ctx)
			if name == "session" || w.ChannelOpen() {
				next(srv, conn, accepted{opened, w.Channel}, ctx)
			}
		}
	}
}
