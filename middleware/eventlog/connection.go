package eventlog

import (
	"net"
	"slices"
	"sync"
	"time"

	"charm.land/log/v2"

	"foyer/middleware/eventlog/counters"
)

// Connection writes the lines of a connection, as far as they are let through. It is a [Logger]; its methods may be
// called by several goroutines. Nil writes nothing.
type Connection struct {
	log   *Log
	peer  net.Addr
	facts []any
	level log.Level

	mu      sync.Mutex
	known   bool // somebody is authenticated
	asked   bool // whether there is room for it in the log
	told    bool // there is, and its last line is paid for
	lines   int
	omitted int
}

// Authenticated notes that somebody got in. What comes from now on is no stranger's.
func (c *Connection) Authenticated() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = true
}

// Log writes a line if it is let through.
func (c *Connection) Log(level log.Level, event any, facts ...any) {
	if c.Take(level, 1) {
		c.Write(level, event, facts...)
	}
}

// Debug writes a line at that level if it is let through.
func (c *Connection) Debug(event any, facts ...any) { c.Log(log.DebugLevel, event, facts...) }

// Info writes a line at that level if it is let through.
func (c *Connection) Info(event any, facts ...any) { c.Log(log.InfoLevel, event, facts...) }

// Warn writes a line at that level if it is let through.
func (c *Connection) Warn(event any, facts ...any) { c.Log(log.WarnLevel, event, facts...) }

// Error writes a line at that level, which only other errors can be in the way of.
func (c *Connection) Error(event any, facts ...any) { c.Log(log.ErrorLevel, event, facts...) }

// Close writes the last line of the connection, at info level, with how many were left out if any were. It is there
// where any line before it is, errors aside, whatever has become of the budget.
func (c *Connection) Close(event any, facts ...any) {
	if c == nil || !c.paid() && !c.Take(log.InfoLevel, 1) {
		return
	}
	if omitted := c.left(); omitted > 0 {
		facts = append(slices.Clip(facts), "omitted", omitted)
	}
	c.Write(log.InfoLevel, event, facts...)
}

// Take asks for n lines that belong together, and reports whether they are let through: the caller may then Write
// them. Those that the log's level leaves out are not.
func (c *Connection) Take(level log.Level, n int) bool {
	if c == nil || level < c.level {
		return false
	}
	var peer net.Addr
	reached := c.take(level, n)
	switch reached {
	case "":
		return true
	case counters.LogLines:
		peer = c.peer
	}
	for range n {
		c.log.counters.Count(reached, peer)
	}
	return false
}

// Write writes a line that was taken.
func (c *Connection) Write(level log.Level, event any, facts ...any) {
	c.log.lines.add(line{c.log.now(), level, event, c.facts, facts})
}

// take returns the bound that n lines do not fit into, if there is one.
func (c *Connection) take(level log.Level, n int) (reached counters.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		if reached != "" {
			c.omitted += n
		}
	}()
	switch {
	case level >= log.ErrorLevel:
		if !c.log.errors.take(c.log.now(), c.cost(n)) {
			return counters.LogRate
		}
		return ""
	case c.lines+n >= MaxLines: // the last line is one of them
		return counters.LogLines
	case !c.room(n):
		return counters.LogRate
	}
	c.lines += n
	return ""
}

// room asks the budget. Strangers ask once, or what trickles in during a flood would buy a line of many of them.
func (c *Connection) room(n int) bool {
	budget := &c.log.strangers
	switch {
	case c.known:
		budget = &c.log.known
	case c.asked && !c.told:
		return false
	}
	if !c.told {
		n++
	}
	c.asked = true
	room := budget.take(c.log.now(), c.cost(n))
	c.told = c.told || room
	return room
}

func (c *Connection) cost(n int) time.Duration { return time.Duration(n) * c.log.each }

func (c *Connection) paid() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told
}

func (c *Connection) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.omitted
}
