package session

import (
	"context"
	"sync"
	"time"

	"charm.land/ssh"
)

// sessionContext is the [ssh.Context] of one session. It ends with the session. Values that are set in it are visible in
// this session only; everything else comes from the connection's context, which all sessions of the connection share.
type sessionContext struct {
	ssh.Context                 // the connection's
	own         context.Context // ends with the session

	sess *Session

	mu     sync.Mutex
	values map[any]any
}

// init makes c a child of conn, for sess.
func (c *sessionContext) init(conn ssh.Context, sess *Session) (cancel context.CancelFunc) {
	c.Context, c.sess = conn, sess
	c.own, cancel = context.WithCancel(conn)
	return cancel
}

func (c *sessionContext) Deadline() (time.Time, bool) { return c.own.Deadline() }
func (c *sessionContext) Done() <-chan struct{}       { return c.own.Done() }
func (c *sessionContext) Err() error                  { return c.own.Err() }

// Value looks in the session first, then in the connection.
func (c *sessionContext) Value(key any) any {
	c.mu.Lock()
	value, ok := c.values[key]
	c.mu.Unlock()
	switch {
	case ok:
		return value
	case key == ssh.ContextKeySession:
		return c.sess
	}
	return c.own.Value(key)
}

// SetValue sets a value for this session only.
func (c *sessionContext) SetValue(key, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = map[any]any{}
	}
	c.values[key] = value
}
