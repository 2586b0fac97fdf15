package middleware

import (
	"errors"
	"net"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
)

// Limits returns the layer that bounds how many connections there are, in all and from one source, with authentication
// and without, and how many sessions each has. The table says who has to go ([limits.Table]): at the door whoever
// waits longest in silence, and the newcomer only where everybody is authenticated. They are told why, which ssh shows:
// "Received disconnect from …: too many visitors at the moment", or the same without the address to whoever is at its
// prompt, once they have typed.
//
// A session over the limit is refused in words, and the connection goes on. One that has had too many in all is over.
func Limits(table *limits.Table) Layer {
	return Layer{
		Name: "limits",
		Server: func(srv *ssh.Server) error {
			if table == nil {
				return errors.New("no table")
			}
			aroundSessions(srv, func(next ssh.ChannelHandler) ssh.ChannelHandler { return limitSessions(next, table) })
			return Hooks{
				Accept:    admit(srv, table),
				Configure: noteStages,
				Closed: func(ctx ssh.Context, _ error) {
					kept[*limits.Conn](ctx).Closed()
				},
			}.Add(srv)
		},
	}
}

func admit(srv *ssh.Server, table *limits.Table) func(ssh.Context, net.Conn) net.Conn {
	return func(ctx ssh.Context, conn net.Conn) net.Conn {
		c, out, reached := table.Admit(conn)
		for _, c := range out {
			go table.Farewells.Busy(c, srv.Version)
		}
		switch {
		case c != nil:
			keep(ctx, c)
			return c
		case reached == "":
			table.Farewells.Closing(conn, srv.Version)
		default:
			table.Farewells.Busy(conn, srv.Version)
		}
		return nil
	}
}

// noteStages tells the table how far the connection has come.
func noteStages(ctx ssh.Context, cfg *gossh.ServerConfig) {
	c := kept[*limits.Conn](ctx)
	if c == nil {
		return // at start
	}
	afterKeyExchange(cfg, func(conn gossh.ServerPreAuthConn) {
		c.Banner(conn.SendAuthBanner)
	})
	afterAttempts(cfg, func(conn gossh.ConnMetadata, method string, err error) {
		if err == nil {
			c.Authenticated()
		}
	})
}

func limitSessions(next ssh.ChannelHandler, table *limits.Table) ssh.ChannelHandler {
	return func(srv *ssh.Server, conn *gossh.ServerConn, channel gossh.NewChannel, ctx ssh.Context) {
		c := kept[*limits.Conn](ctx)
		defer c.Leave()
		switch c.Open() {
		case counters.Sessions:
			_ = channel.Reject(gossh.ResourceShortage, "too many sessions at once on this connection")
		case counters.SessionsEver:
			_ = channel.Reject(gossh.ResourceShortage, "too many sessions on this connection: please connect again")
		default:
			next(srv, conn, channel, ctx)
		}
	}
}
