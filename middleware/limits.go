package middleware

import (
	"errors"
	"sync/atomic"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/limits"
	"foyer/middleware/transport"
)

const busy = "too many visitors at the moment, please try again in a minute"

// Limits returns the layer that bounds how many connections there are, in all and from one source, authenticated and not,
// and how many sessions each has. When there are too many, an unauthenticated connection makes room (package limits says
// which), and a new one is refused only where all are authenticated. Both are told why, which ssh shows: "Received
// disconnect from …: too many visitors at the moment", or without the address to somebody at the password prompt, once
// they have typed.
//
// A session over the limit is refused with a reason, and the connection goes on. A connection that has had too many
// sessions in all, or asks for many more than it may have at once, is hung up on.
func Limits(table *limits.Table) Layer {
	return Layer{
		Name: "limits",
		Server: func(*ssh.Server) error {
			if table == nil {
				return errors.New("no table")
			}
			return nil
		},
		Connect: func(c *Conn) (Moments, error) {
			place, evicted, _ := table.Admit(c.RemoteAddr(), func() { c.Disconnect(transport.TooManyConnections, busy) })
			for _, other := range evicted {
				go other.Evict()
			}
			if place == nil {
				c.Disconnect(transport.TooManyConnections, busy)
				return Moments{}, errors.New(busy)
			}
			return Moments{
				Stage:  func(stage Stage) { note(place, stage) },
				Open:   limitSessions(c, table),
				Closed: func(error) { place.Closed() },
			}, nil
		},
	}
}

// note tells the table how far the connection has come.
func note(place *limits.Connection, stage Stage) {
	switch stage {
	case Speaking:
		place.Spoke()
	case KeysExchanged:
		place.KeysExchanged()
	case Authenticated:
		place.Authenticated()
	}
}

func limitSessions(c *Conn, table *limits.Table) func(gossh.NewChannel, int) error {
	var ever atomic.Int64
	return func(channel gossh.NewChannel, sessions int) error {
		if channel.ChannelType() != "session" {
			return nil
		}
		switch {
		case ever.Add(1) > int64(table.MaxSessionsEver):
			table.Counters.Count(counters.SessionsEver, c.RemoteAddr())
			_ = c.Close()
			return errors.New("too many sessions on this connection: please connect again")
		case sessions > table.MaxSessions:
			table.Counters.Count(counters.Sessions, c.RemoteAddr())
			if sessions > 2*table.MaxSessions { // it goes on asking without taking the answers
				_ = c.Close()
			}
			return errors.New("too many sessions at once on this connection")
		}
		return nil
	}
}
