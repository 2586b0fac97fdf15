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

// Limits returns the layer that bounds the number of connections, in total and per source, and of sessions per
// connection. When there are too many connections, it evicts an unauthenticated one. If all are authenticated, it evicts
// one of the source that has most for a source that has none, or refuses the new one (see package limits). A client that
// is not authenticated gets the reason, and ssh shows it: "Received disconnect from …: too many visitors at the moment".
// At the password prompt ssh shows it, without the address, after the visitor has pressed Enter.
//
// Before their first key exchange is over, clients share the CPUs fairly by source, so that a flood waits and a newcomer does
// not.
//
// A session over a limit is refused with a reason, and the connection stays open. A connection that has had too many
// sessions in total, or opens many more than the limit at once, is closed.
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
			entry, evicted, _ := table.Admit(c.RemoteAddr(), func(overShare bool) {
				if overShare {
					c.fail(errOverShare)
				}
				c.Disconnect(transport.TooManyConnections, busy)
			})
			for _, other := range evicted {
				go other.Evict()
			}
			if entry == nil {
				c.Disconnect(transport.TooManyConnections, busy)
				return Moments{}, errors.New(busy)
			}
			return Moments{
				Stage:   func(stage Stage) { record(entry, stage) },
				Attempt: func(Attempt) { entry.Asked() },
				Open:    limitSessions(c, table, entry),
				Left:    func(string) { entry.Sessions(c.Sessions()) },
				Computing: func(on bool) error {
					if on {
						return compute(c, entry)
					}
					entry.Computed()
					return nil
				},
				Closed: func(error) { entry.Closed() },
			}, nil
		},
	}
}

// errOverShare is why a connection ends when newer connections of its own source evict it. The source gets a penalty for it;
// otherwise a client could connect again and again for free.
var errOverShare = errors.New("evicted by newer connections of its source")

// record records in the table that the connection has reached a stage.
func record(entry *limits.Connection, stage Stage) {
	switch stage {
	case Speaking:
		entry.Spoke()
	case KeysExchanged:
		entry.KeysExchanged()
	case Authenticated:
		entry.Authenticated()
	}
}

// compute waits for the connection's turn to exchange keys, or tells the client that too many wait.
func compute(c *Conn, entry *limits.Connection) error {
	err := entry.Compute(c.Context())
	if err != nil {
		c.Disconnect(transport.TooManyConnections, busy)
	}
	return err
}

func limitSessions(c *Conn, table *limits.Table, entry *limits.Connection) func(gossh.NewChannel, int) error {
	var ever atomic.Int64
	maxSessions, maxEver := table.SessionLimits()
	return func(channel gossh.NewChannel, sessions int) error {
		if channel.ChannelType() != "session" {
			return nil
		}
		switch {
		case ever.Add(1) > int64(maxEver):
			table.Counters.Count(counters.SessionsEver, c.RemoteAddr())
			_ = c.Close()
			return errors.New("too many sessions on this connection: please connect again")
		case sessions > maxSessions:
			table.Counters.Count(counters.Sessions, c.RemoteAddr())
			if sessions > 2*maxSessions { // it keeps opening sessions without reading the refusals
				_ = c.Close()
			}
			return errors.New("too many sessions at once on this connection")
		case !entry.Sessions(c.Sessions()):
			table.Counters.Count(counters.SessionsInAll, c.RemoteAddr())
			return errors.New("too many sessions at the moment, please try again in a minute")
		}
		return nil
	}
}
