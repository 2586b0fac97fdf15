package middleware

import (
	"errors"
	"net"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/passwords"
	"foyer/middleware/penalties"
)

// PenaltiesConfig is what [Penalties] takes from whom; its fields are described there.
type PenaltiesConfig = penalties.Config

// Penalties returns the layer that hangs up on sources whose connections keep coming to nothing, before a byte is
// exchanged: what PerSourcePenalties is to sshd(8), by the names of sshd_config(5). It is an address that pays, or for
// IPv6 a /64.
//
// A connection that ends without authentication costs one penalty, however much was tried on it: authfail 5s,
// invaliduser 5s, grace-exceeded 10s, or noauth 1s where nothing was tried, or nothing but a false proof of a key that would
// do, of which the library tells nobody. One that ends with it costs nothing and forgives nothing, or who has an account
// could guess the others' passwords for free. A debt runs out by a second each second. Beyond Min, 15s, the source is
// refused until it owes nothing; it never owes more than Max, 10m. Connections that are open go on, and pay.
//
// So a block begins with the fourth login within 5 seconds that fails, with the second prompt within 5 seconds that
// nobody answered in time, or with the sixteenth port scan within one second, and lasts 20, 20 and 16 seconds at first.
// Who mistypes does so up to six times on one connection, for one penalty, which is gone before they have done it
// again: no typing hand locks out the office that it shares an address with. Two forgotten prompts that end together
// do, for 20 seconds, and so does a program there that fails more than once in 5 seconds, for as long as it does. A
// health checker that looks in once a second is never blocked. Who guesses has six guesses in 5 seconds in the long
// run, unless on so many connections at once, over 120, that Max forgives some: those are another layer's concern.
//
// The line belongs outside Logging's, which would tell of each refusal; this layer tells of each block. Without an
// [ssh.Server.HandshakeTimeout] whoever says nothing pays nothing. Behind a proxy that does not pass on addresses all
// visitors are one source: exempt it.
func Penalties(cfg PenaltiesConfig) Layer {
	return Layer{
		Name: "penalties",
		Server: func(srv *ssh.Server) error {
			ledger, err := penalties.NewLedger(cfg)
			if err != nil {
				return err
			}
			return Hooks{
				Accept: func(ctx ssh.Context, conn net.Conn) net.Conn {
					visit, admitted := ledger.Admit(conn.RemoteAddr())
					if !admitted {
						return nil
					}
					keep(ctx, &penalty{visit: visit})
					return conn
				},
				Configure: noteAttempts,
				Closed: func(ctx ssh.Context, err error) {
					if p := kept[*penalty](ctx); p != nil && p.begun {
						p.visit.Close(err)
					}
				},
			}.Add(srv)
		},
	}
}

// penalty is what Penalties keeps of a connection.
type penalty struct {
	visit *penalties.Visit
	begun bool // the handshake: what another layer refuses at the door is not the visitor's fault
}

// noteAttempts hears of each attempt, and of each key that was only asked about if it would not do. That makes an agent
// with many keys one failure at the end, and none if a password follows.
func noteAttempts(ctx ssh.Context, cfg *gossh.ServerConfig) {
	p := kept[*penalty](ctx)
	if p == nil {
		return // at start
	}
	p.begun = true
	afterAttempts(cfg, func(conn gossh.ConnMetadata, method string, err error) {
		if !errors.Is(err, passwords.ErrBusy) { // no fault of the visitor's
			p.visit.Attempt(conn.User(), method, err)
		}
	})
}
