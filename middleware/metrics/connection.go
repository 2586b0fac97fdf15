package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Connection counts one connection. It is safe for concurrent use.
type Connection struct {
	metrics  *Metrics
	accepted time.Time

	mu        sync.Mutex
	open      prometheus.Gauge // of the stage that was reached last; nil if the connection is over
	algorithm string           // of the first key exchange, once it is over
}

// Connection counts a connection that was accepted at a time.
func (m *Metrics) Connection(accepted time.Time) *Connection {
	c := &Connection{metrics: m, accepted: accepted, open: m.open.WithLabelValues(Stages[0])}
	c.open.Inc()
	m.reached.WithLabelValues(Stages[0]).Inc()
	return c
}

// Reached counts that the connection has reached a later stage, an index of [Stages].
func (c *Connection) Reached(stage int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		return
	}
	name := Stages[stage]
	c.open.Dec()
	c.open = c.metrics.open.WithLabelValues(name)
	c.open.Inc()
	c.metrics.reached.WithLabelValues(name).Inc()
	if stage >= 2 {
		c.metrics.handshakes.WithLabelValues(name).Observe(time.Since(c.accepted).Seconds())
	}
}

// KeysExchanged counts the first key exchange.
func (c *Connection) KeysExchanged(algorithm string) {
	algorithm = known(algorithm, c.metrics.algorithms)
	c.mu.Lock()
	c.algorithm = algorithm
	c.mu.Unlock()
	c.metrics.exchanges.WithLabelValues(algorithm).Inc()
}

// KeyExchange counts a key exchange, unless it is the first one. Clients repeat one with the same algorithm.
func (c *Connection) KeyExchange() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.algorithm != "" {
		c.metrics.exchanges.WithLabelValues(c.algorithm).Inc()
	}
}

// Over counts that the connection is over, and the bytes that it has received and sent.
func (c *Connection) Over(received, sent int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		return
	}
	c.metrics.received.Add(float64(received))
	c.metrics.sent.Add(float64(sent))
	c.open.Dec()
	c.open = nil
}
