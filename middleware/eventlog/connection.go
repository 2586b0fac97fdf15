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

// Connection is the log of one connection. It omits lines that exceed a limit. It is safe for concurrent use, and nil
// writes nothing.
type Connection struct {
	log   *Log
	peer  net.Addr
	attrs []slog.Attr

	mu            sync.Mutex
	authenticated bool
	decided       bool // the budget was asked for the connection's first line
	admitted      bool // the budget allowed it, and the last line is taken from the budget too
	lines         int
	omitted       int
}

// Authenticated records that the client is authenticated. From now on its lines are taken from another budget.
func (c *Connection) Authenticated() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.authenticated = true
}

// Logger returns a logger that writes the lines that are allowed.
func (c *Connection) Logger() *slog.Logger { return slog.New(handler{conn: c}) }

// Log writes a line if it is allowed.
func (c *Connection) Log(level slog.Level, event string, args ...any) {
	if c.Take(level, 1) {
		c.Write(level, event, args...)
	}
}

// Close writes the connection's last line, at info level, with the number of omitted lines if it is not zero. If any
// other line of the connection was written, apart from errors, the last line is written too.
func (c *Connection) Close(event string, args ...any) {
	if c == nil || !c.isAdmitted() && !c.Take(slog.LevelInfo, 1) {
		return
	}
	if omitted := c.omittedLines(); omitted > 0 {
		args = append(args[:len(args):len(args)], "omitted", omitted)
	}
	c.Write(slog.LevelInfo, event, args...)
}

// Take takes n lines that belong together from the budget, for the caller to Write, and reports whether they are
// allowed. Lines below the log's level are not allowed.
func (c *Connection) Take(level slog.Level, n int) bool {
	return c != nil && c.log.queue.handler.Enabled(context.Background(), level) && c.Allow(level, n)
}

// Allow is [Connection.Take] for lines that go elsewhere, whatever the log's level is. Nil allows every line.
func (c *Connection) Allow(level slog.Level, n int) bool {
	if c == nil {
		return true
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

// Write writes a line that Take allowed.
func (c *Connection) Write(level slog.Level, event string, args ...any) {
	record := slog.NewRecord(c.log.now(), level, event, 0)
	record.AddAttrs(c.attrs...)
	record.Add(args...)
	c.log.queue.add(record)
}

// take returns the limit that n lines exceed, or "".
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
	case c.lines+n >= MaxLines: // keeps one for the last line
		return counters.LogLines
	case !c.takeFromBudget(n):
		return counters.LogRate
	}
	c.lines += n
	return ""
}

// takeFromBudget reports whether the budget allows n lines. It asks the budget only once for an unauthenticated
// connection: otherwise, during a flood, the log would have single lines of many connections.
func (c *Connection) takeFromBudget(n int) bool {
	budget := &c.log.unauthenticated
	switch {
	case c.authenticated:
		budget = &c.log.authenticated
	case c.decided && !c.admitted:
		return false
	}
	if !c.admitted {
		n++ // for the last line
	}
	c.decided = true
	admitted := budget.take(c.log.now(), c.cost(n))
	c.admitted = c.admitted || admitted
	return admitted
}

func (c *Connection) cost(n int) time.Duration { return time.Duration(int64(n) * c.log.perLine.Load()) }

func (c *Connection) isAdmitted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admitted
}

func (c *Connection) omittedLines() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.omitted
}

// handler is a [slog.Handler] that writes to a connection's log. The name of a group is a prefix of its keys, as in
// slog's own handlers.
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
