package limits

import (
	"context"
	"time"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/fairqueue"
)

const (
	// maxComputing is for how many connections per CPU the server computes a part of the key exchange at once. With one, the
	// CPUs would wait for each other. A part takes about half a millisecond, and several with the oldest algorithms.
	maxComputing = 4

	// maxWaiting is how many connections per CPU may wait for that.
	maxWaiting = 1024

	// estimate is what a part counts until it is over.
	estimate = time.Millisecond
)

// Compute waits until the server may compute a part of the connection's key exchange. It does so for few connections at
// once, and the next one is from the source for which it has computed least; logins do not count. Without it a flood of key
// exchanges from one source would slow down everybody. If Compute returns no error, the caller must call Computed.
func (c *Connection) Compute(ctx context.Context) error {
	err := c.table.computing.Enter(ctx, c.from, int64(estimate))
	if err != nil {
		c.table.Counters.Count(counters.Busy, c.peer)
		return err
	}
	c.began = time.Now()
	return nil
}

// Computing describes the queue of key exchanges.
func (t *Table) Computing() fairqueue.Stats { return t.computing.Stats() }

// Computed records that the part is over. Without a call of Compute that has succeeded it does nothing.
func (c *Connection) Computed() {
	if c.began.IsZero() {
		return
	}
	took := time.Since(c.began)
	c.began = time.Time{}
	c.spent += took
	c.table.computing.Charge(c.from, int64(took-estimate))
	c.table.computing.Leave()
}
