package middleware

import (
	"errors"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

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
	ledger, err := penalties.NewLedger(cfg)
	return Layer{
		Name:   "penalties",
		Server: func(*ssh.Server) error { return err },
		Connect: func(c *Conn) (Moments, error) {
			visit, admitted := ledger.Admit(c.RemoteAddr())
			if !admitted {
				return Moments{}, errors.New("the source is blocked")
			}
			started := false // the handshake: what another layer refuses is not the client's fault
			return Moments{
				Configure: func(*gossh.ServerConfig) { started = true },
				Attempt:   func(a Attempt) { visit.Attempt(a.User(), outcomeOf(a.Outcome)) },
				Closed: func(err error) {
					if started {
						visit.Close(err)
					}
				},
			}, nil
		},
	}
}

// outcomeOf says what an attempt is to the penalties. A refused key is a failure: an agent with many keys fails once, at the
// end of its connection, and not at all if a password follows.
func outcomeOf(o Outcome) penalties.Outcome {
	switch o {
	case Succeeded:
		return penalties.Succeeded
	case Asked:
		return penalties.Asked
	case NotChecked:
		return penalties.NotChecked
	}
	return penalties.Failed
}
