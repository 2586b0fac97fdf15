// Package eventlog is the log of what happens on connections. It bounds what each connection writes, and all of them
// together.
//
// A [Log] has a budget for clients that are not authenticated, another for those that are, so that a flood of the former
// does not hide the latter, and a third for errors. Each allows a burst, and then so many lines a second. What is left out
// is counted.
//
// The lines of a connection are all there or mostly not: an unauthenticated one is in the log from its first line on or not
// at all, its last line is paid for with its first, and lines that belong together are asked for together.
package eventlog

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"time"

	"foyer/middleware/eventlog/counters"
)

// DefaultRate is how many lines a second each budget allows: 25 visits of four lines, two million visits a day. With lines
// of 200 bytes that is 20 kB a second, so an hour's flood writes 75 MB, and as much again if somebody with a password joins
// it.
const DefaultRate = 100

// Burst is how many seconds' worth of lines each budget allows at once: 25,000 lines by default, or 5 MB. The front page of
// a news site sends 5,000 visitors in ten seconds; those are 10,000 lines until they are authenticated, more where they
// mistype, and 15,000 after. The budget is full again after four quiet minutes.
const Burst = 250 * time.Second

// MaxLines is how many lines a connection may write, errors excepted. A visit has five, and 40 sessions on one connection
// are still within it.
const MaxLines = 100

// Config configures a [Log].
type Config struct {
	// Logger takes the lines; the default logger if nil.
	Logger *slog.Logger
	// Rate is how many lines a second each budget allows: [DefaultRate] if zero, no limit if negative.
	Rate int
	// Counters counts the lines that are left out. The log has counters of its own if it is nil.
	Counters *counters.Counters
	// Batch is what Logger writes to. With it, the lines of connections wait for others, 20 ms at most, except errors; a
	// process that is killed loses those of its last moment. Without it, each line is written at once.
	Batch *BatchWriter
	// Now is for tests; [time.Now] if nil.
	Now func() time.Time
}

// Log is the log that connections write to.
type Log struct {
	counters *counters.Counters
	now      func() time.Time
	perLine  time.Duration // what a line costs of a budget
	queue    queue

	unauthenticated, authenticated, errors budget
}

// New returns a log in which nothing is written yet.
func New(cfg Config) *Log {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Counters == nil {
		cfg.Counters = counters.New(counters.Config{Logger: cfg.Logger})
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Log{
		counters: cfg.Counters,
		now:      cfg.Now,
		perLine:  max(0, time.Second/time.Duration(cmp.Or(cfg.Rate, DefaultRate))),
		queue:    queue{handler: cfg.Logger.Handler(), batch: cfg.Batch},
	}
}

// Flush writes the lines that wait.
func (l *Log) Flush() { l.queue.flush() }

// Connection returns what writes the lines of a connection from peer, each with the attributes args, as in [slog.Logger.With].
func (l *Log) Connection(peer net.Addr, args ...any) *Connection {
	var record slog.Record
	record.Add(args...)
	c := &Connection{log: l, peer: peer}
	record.Attrs(func(attr slog.Attr) bool { c.attrs = append(c.attrs, attr); return true })
	return c
}

// Unauthenticated returns a logger for lines that strangers cause and that belong to no connection. Each is allowed as the
// first line of an unauthenticated connection would be.
func (l *Log) Unauthenticated() *slog.Logger {
	return slog.New(strangers{handler{conn: l.Connection(nil)}})
}

// strangers is a handler that takes each record for the only line of a connection.
type strangers struct{ handler }

func (s strangers) Handle(ctx context.Context, record slog.Record) error {
	s.handler.conn = s.conn.log.Connection(nil)
	return s.handler.Handle(ctx, record)
}
