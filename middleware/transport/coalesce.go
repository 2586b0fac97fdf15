package transport

import "time"

const (
	maxHold   = time.Millisecond // how long packets are held at most; a short session takes microseconds
	maxHeld   = 4096             // how many bytes at most: more than a key exchange or a short session sends
	usualHeld = 512              // how many in a key exchange with curve25519, or in a session with a short message
)

// Hold has the packets that the server writes wait for those that follow, so that they leave in one write, until Release.
// That takes a millisecond at most. A write that is held succeeds; if it fails later, Release and the next write say so.
func (c *Conn) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = true
	if c.release == nil {
		c.release = time.AfterFunc(maxHold, func() { _ = c.Release() })
	} else {
		c.release.Reset(maxHold)
	}
}

// Release writes what is held.
func (c *Conn) Release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = false
	if c.release != nil {
		c.release.Stop()
	}
	return c.flush(nil)
}

// send writes p, or holds it. The end of the first key exchange, the server's share and its SSH_MSG_NEWKEYS, waits for the
// SSH_MSG_EXT_INFO that may follow, or for the next read. The caller holds the lock.
func (c *Conn) send(p []byte, endsExchange bool) error {
	if endsExchange || c.holding {
		if len(c.held)+len(p) <= maxHeld {
			if c.held == nil {
				c.held = make([]byte, 0, usualHeld)
			}
			c.held = append(c.held, p...)
			c.exchangeHeld.Store(endsExchange)
			return c.writeErr
		}
		c.holding = false // it is not short
	}
	return c.flush(p)
}

// flush writes what is held and p. The caller holds the lock.
func (c *Conn) flush(p []byte) error {
	if len(c.held) > 0 {
		p = append(c.held, p...)
		c.held = nil
	}
	if len(p) > 0 && c.writeErr == nil {
		_, c.writeErr = c.Conn.Write(p)
	}
	return c.writeErr
}
