package middleware

import (
	"errors"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/penalties"
	"foyer/middleware/transport"
)

// Penalties returns the layer that refuses connections from sources that fail to authenticate too often, before their first
// byte is read; the client reads sshd's words, "Not allowed at this time". It works as sshd's PerSourcePenalties and uses the
// names of sshd_config(5). By default a source is an IPv4 address or an IPv6 /64.
//
// A connection that ends without authentication gets one penalty, however many attempts it had: authfail 5s,
// invaliduser 5s, grace-exceeded 10s, or noauth 1s if there was no attempt. (The library does not report an invalid
// signature by an accepted key, so that counts as noauth.) An authenticated connection gets none, unless an attempt for
// another user has failed on it. It does not reduce the source's penalty. Otherwise a user could guess other users'
// passwords without a limit. If newer connections of the same source evict a connection, it gets noauth.
//
// Penalties of a source add up and decrease by one second per second. Above Min, 15s, the source is blocked until its
// penalty is zero; Max, 10m, is the upper limit. Open connections of a blocked source stay open and still get penalties.
//
// So a source is blocked for 20 seconds after four failed connections or two timeouts at the password prompt within 5
// seconds, and for 16 seconds after 16 connections within one second that speak SSH and leave. A connection on which the
// client sends nothing, such as a port scan or a health check, costs nothing. A person who mistypes a password up to six times on one
// connection gets one penalty, which is over before the next one. So typing errors do not block an office behind one address.
// Two timeouts together do, for 20 seconds, and so does a program that keeps failing more than once in 5 seconds. In the long
// run an attacker has six
// guesses every 5 seconds. With more than 120 connections at once he has more, because no penalty exceeds Max; Limits
// bounds the connections.
//
// The layer logs each block. It belongs before Logging in the list, because Logging would log each refused connection.
// Without a handshake deadline (see [Deadlines]), silent clients get no penalty. Exempt a proxy that does not pass on
// the clients' addresses: behind it all visitors are one source.
func Penalties(tracker *penalties.Tracker) Layer {
	return Layer{
		Name: "penalties",
		Server: func(*ssh.Server) error {
			if tracker == nil {
				return errors.New("no tracker")
			}
			return nil
		},
		Connect: func(c *Conn) (Moments, error) {
			attempts, admitted := tracker.Admit(c.RemoteAddr())
			if !admitted {
				c.disconnectBriefly(transport.ServiceNotAvailable, "Not allowed at this time")
				return Moments{}, errors.New("the source is blocked")
			}
			started := false // a connection that another layer refuses gets no penalty
			return Moments{
				Configure: func(*gossh.ServerConfig) { started = true },
				Stage:     func(Stage) { started = true }, // also of a client that does not speak SSH
				Attempt:   func(a Attempt) { attempts.Attempt(a.User(), outcomeOf(a.Outcome)) },
				Closed: func(err error) {
					if started {
						attempts.Close(err)
					}
				},
			}, nil
		},
	}
}

// outcomeOf returns an outcome as package penalties counts it. A refused key is a failed attempt: a client with many
// keys gets one penalty when its connection ends, and none if it is authenticated with a password.
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
