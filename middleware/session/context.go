package session

import (
	"context"
	"sync"
	"time"

	"charm.land/ssh"
)

// sessionContext is the [ssh.Context] of one session. It ends with the session, and what is set in it stays in it;
// all else is the connection's, which other sessions of the same client share.
type sessionContext struct {
	ssh.Context                 // the connection's
	own         context.Context // ends with the session

	mu     sync.Mutex
	values map[any]any
}

func newContext(conn ssh.Context) (*sessionContext, context.CancelFunc) {
	own, cancel := context.WithCancel(conn)
	return &sessionContext{Context: conn, own: own, values: map[any]any{}}, cancel
}

func (c *sessionContext) Deadline() (time.Time, bool) { return c.own.Deadline() }
func (c *sessionContext) Done() <-chan struct{}       { return c.own.Done() }
func (c *sessionContext) Err() error                  { return c.own.Err() }

// Value looks in the session first, then in the connection.
func (c *sessionContext) Value(key any) any {
	c.mu.Lock()
	value, ok := c.values[key]
	c.mu.Unlock()
	if ok {
		return value
	}
	return c.own.Value(key)
}

// SetValue sets a value for this session alone.
func (c *sessionContext) SetValue(key, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[key] = value
}
