package middleware

import (
	"sync"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/budgets"
	"foyer/middleware/eventlog/counters"
)

// Budgets returns the layer that limits the work that one connection may cause: key exchanges, global requests, channels
// other than sessions, and bytes that no session reads. A connection that exceeds a budget is closed and counted. Requests that x/crypto answers by itself, such as ping@openssh.com, count as bytes.
func Budgets(shared *budgets.Budgets) Layer {
	return Layer{
		Name: "budgets",
		Connect: func(c *Conn) (Moments, error) {
			spent := shared.Connection()
			var once sync.Once
			charge := func(reason counters.Reason) error {
				if reason == "" {
					return nil
				}
				once.Do(func() { // packets that arrived before the close may exceed it again
					shared.Counters.Count(reason, c.RemoteAddr())
					_ = c.Close()
				})
				return budgets.ErrExceeded
			}
			return Moments{
				Work: func(kind Work, n int) error { return charge(spend(spent, kind, n)) },
				Attempt: func(a Attempt) {
					if a.Outcome == Succeeded {
						spent.Authenticated()
					} else if a.Err != nil {
						_ = charge(spent.Received(len(a.Err.Error()))) // x/crypto stores the error, which may quote the client
					}
				},
				Open: func(channel gossh.NewChannel, _ int) error {
					if channel.ChannelType() == "session" {
						return nil
					}
					return charge(spent.ChannelOpen())
				},
				Closed: func(error) { spent.Closed() },
			}, nil
		},
	}
}

func spend(spent *budgets.Connection, kind Work, n int) (exceeded counters.Reason) {
	switch kind {
	case BytesReceived:
		return spent.Received(n)
	case BytesRead:
		spent.Read(n)
	case KeyExchange:
		return spent.KeyExchange()
	case GlobalRequest:
		return spent.GlobalRequest()
	}
	return ""
}
