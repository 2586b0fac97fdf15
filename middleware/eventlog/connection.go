package eventlog

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"foyer/middleware/eventlog/counters"
)

// Connection writes the lines of a connection, as far as they are allowed. Its methods may be called by several
// goroutines. Nil writes nothing.
type Connection struct {
	log   *Log
	peer  net.Addr
	attrs []slog.Attr

	mu            sync.Mutex
	authenticated bool
	asked         bool // whether there is room for it in the log
	admitted      bool // there is, and its last line is paid for
	lines         int
	omitted       int
}

// Authenticated notes that the client is authenticated. Its lines use another budget from now on.
func (c *Connection) Authenticated() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.authenticated = true
}

// Logger returns the connection as a logger whose lines are written if they are allowed.
func (c *Connection) Logger() *slog.Logger { return slog.New(handler{conn: c}) }

// Log writes a line if it is allowed.
func (c *Connection) Log(level slog.Level, event string, args ...any) {
	if c.Take(level, 1) {
		c.Write(level, event, args...)
	}
}

// Close writes the connection's last line, at info level, with how many were left out, if any were. It is there if any line
// before it is, errors excepted, whatever has become of the budget.
func (c *Connection) Close(event string, args ...any) {
	if c == nil || !c.paid() && !c.Take(slog.LevelInfo, 1) {
		return
	}
	if omitted := c.left(); omitted > 0 {
		args = append(args[:len(args):len(args)], "omitted", omitted)
	}
	c.Write(slog.LevelInfo, event, args...)
}

// Take asks for n lines that belong together and reports whether they are allowed. The caller may then Write them. Lines
// below the log's level are not allowed.
func (c *Connection) Take(level slog.Level, n int) bool {
	if c == nil || !c.log.queue.handler.Enabled(context.Background(), level) {
		return false
	}
	exceeded := c.take(level, n)
	if exceeded == "" {
		return true
	}
	var peer net.Addr
	if exceeded == counters.LogLines {
		peer = c.peer
	}
	for range n {
		c.log.counters.Count(exceeded, peer)
	}
	return false
}

// Write writes a line that Take has allowed.
func (c *Connection) Write(level slog.Level, event string, args ...any) {
	record := slog.NewRecord(c.log.now(), level, event, 0)
	record.AddAttrs(c.attrs...)
	record.Add(args...)
	c.log.queue.add(record)
}

// take returns the bound that n lines exceed, if they do.
func (c *Connection) take(level slog.Level, n int) (exceeded counters.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		if exceeded != "" {
			c.omitted += n
		}
	}()
	switch {
	case level >= slog.LevelError:
		if !c.log.errors.take(c.log.now(), c.cost(n)) {
			return counters.LogRate
		}
		return ""
	case c.lines+n >= MaxLines: // the last line is one of them
		return counters.LogLines
	case !c.takeFromBudget(n):
		return counters.LogRate
	}
	c.lines += n
	return ""
}

// takeFromBudget asks the budget. An unauthenticated connection asks once: otherwise what trickles in during a flood would
// buy one line of many connections each.
func (c *Connection) takeFromBudget(n int) bool {
	budget := &c.log.unauthenticated
	switch {
	case c.authenticated:
		budget = &c.log.authenticated
	case c.asked && !c.admitted:
		return false
	}
	if !c.admitted {
		n++ // for its last line
	}
	c.asked = true
	admitted := budget.take(c.log.now(), c.cost(n))
	c.admitted = c.admitted || admitted
	return admitted
}

func (c *Connection) cost(n int) time.Duration { return time.Duration(n) * c.log.perLine }

func (c *Connection) paid() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admitted
}

func (c *Connection) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.omitted
}

// handler is a [slog.Handler] that writes to a connection. With groups an attribute's key gets the prefix that slog's own
// handlers give it.
type handler struct {
	conn  *Connection
	attrs []slog.Attr
	group string
}

func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.conn != nil && h.conn.log.queue.handler.Enabled(ctx, level)
}

func (h handler) Handle(_ context.Context, record slog.Record) error {
	if !h.conn.Take(record.Level, 1) {
		return nil
	}
	own := slog.NewRecord(h.conn.log.now(), record.Level, record.Message, record.PC)
	own.AddAttrs(h.conn.attrs...)
	own.AddAttrs(h.attrs...)
	record.Attrs(func(attr slog.Attr) bool {
		own.AddAttrs(slog.Attr{Key: h.group + attr.Key, Value: attr.Value})
		return true
	})
	h.conn.log.queue.add(own)
	return nil
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	all := slices.Clone(h.attrs)
	for _, attr := range attrs {
		all = append(all, slog.Attr{Key: h.group + attr.Key, Value: attr.Value})
	}
	return handler{h.conn, all, h.group}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.conn, h.attrs, h.group + name + "."}
}
