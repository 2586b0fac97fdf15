package middleware

import (
	"errors"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/metrics"
	"foyer/middleware/session"
)

// Metrics returns the layer that counts connections, attempts to authenticate, key exchanges, sessions and bytes for
// Prometheus. It belongs before the layers that refuse connections, so that it counts those too.
func Metrics(m *metrics.Metrics) Layer {
	return Layer{
		Name: "metrics",
		Server: func(*ssh.Server) error {
			if m == nil {
				return errors.New("no metrics")
			}
			return nil
		},
		Connect: func(c *Conn) (Moments, error) {
			conn := m.Connection(c.accepted)
			return Moments{
				Configure: func(cfg *gossh.ServerConfig) { countKeyExchange(cfg, conn) },
				Stage:     func(stage Stage) { conn.Reached(int(stage)) },
				Attempt:   func(a Attempt) { m.Attempt(a.Method, metrics.Outcomes[a.Outcome]) },
				Work: func(kind Work, _ int) error {
					if kind == KeyExchange {
						conn.KeyExchange()
					}
					return nil
				},
				Closed: func(error) { conn.Over(c.Traffic()) },
			}, nil
		},
		Session: countSession(m),
	}
}

// countKeyExchange counts the first key exchange. Only when it is over is its algorithm known.
func countKeyExchange(cfg *gossh.ServerConfig, conn *metrics.Connection) {
	next := cfg.PreAuthConnCallback
	cfg.PreAuthConnCallback = func(meta gossh.ServerPreAuthConn) {
		if next != nil {
			next(meta)
		}
		algorithm := ""
		if known, ok := meta.(gossh.AlgorithmsConnMetadata); ok {
			algorithm = known.Algorithms().KeyExchange
		}
		conn.KeysExchanged(algorithm)
	}
}

func countSession(m *metrics.Metrics) func(ssh.Handler) ssh.Handler {
	return func(next ssh.Handler) ssh.Handler {
		return func(sess ssh.Session) {
			over, status := m.Session(), 1 // after a panic, with which an outer layer ends the session
			defer func() {
				info := session.InfoOf(sess)
				if info.Exited {
					status = info.Status
				}
				over(info.Request, status)
			}()
			next(sess)
			status = 0 // unless the handler has called Exit
		}
	}
}
