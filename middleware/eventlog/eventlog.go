// Package eventlog writes the log of connections. It limits the number of lines of each connection and of all
// connections together.
//
// A [Log] has three budgets: for unauthenticated connections, for authenticated ones, and for errors. So a flood of
// unauthenticated clients does not hide the others. Each budget allows a burst and then a rate per second. Omitted
// lines are counted.
//
// The log of a connection is as complete as possible. An unauthenticated connection has all its lines or none, its last
// line is taken from the budget together with its first, and lines that belong together are allowed together.
package eventlog

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"foyer/middleware/eventlog/counters"
)

// DefaultRate is how many lines a second each budget allows: 25 visits of four lines, or two million visits a day. With
// lines of 200 bytes that is 20 kB a second. A flood of one hour writes 75 MB, and twice that if authenticated clients
// take part.
const DefaultRate = 100

// Burst is how many seconds' worth of lines each budget allows at once: 25,000 lines by default, or 5 MB. A link on the
// front page of a news site brings 5,000 visitors in ten seconds: 10,000 lines before they are authenticated, more if
// they mistype the password, and 15,000 after. The budget is full again after four quiet minutes.
const Burst = 250 * time.Second

// MaxLines is how many lines a connection may write, without errors. A visit has five lines, and a connection with 40
// sessions is within the limit.
const MaxLines = 100

// Config configures a [Log].
type Config struct {
	// Logger takes the lines; the default logger if nil.
	Logger *slog.Logger
	// Rate is how many lines a second each budget allows: [DefaultRate] if zero, no limit if negative.
	Rate int
	// Counters counts the omitted lines. If it is nil, the log has its own counters.
	Counters *counters.Counters
	// Batch is the writer of Logger. With it, lines other than errors wait up to 20 ms and are written together, and a
	// process that is killed loses the waiting lines. Without it, each line is written at once.
	Batch *BatchWriter
	// Now is for tests; [time.Now] if nil.
	Now func() time.Time
}

// Log is the log that connections write to.
type Log struct {
	counters *counters.Counters
	now      func() time.Time
	perLine  atomic.Int64 // nanoseconds that a line takes from a budget
	queue    queue

	unauthenticated, authenticated, errors budget
}

// New returns a log.
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
	l := &Log{
		counters: cfg.Counters,
		now:      cfg.Now,
		queue:    queue{handler: cfg.Logger.Handler(), batch: cfg.Batch},
	}
	l.SetRate(cfg.Rate)
	return l
}

// SetRate changes how many lines a second each budget allows; see [Config].
func (l *Log) SetRate(rate int) {
	l.perLine.Store(int64(max(0, time.Second/time.Duration(cmp.Or(rate, DefaultRate)))))
}

// Flush writes the waiting lines.
func (l *Log) Flush() { l.queue.flush() }

// Connection returns the log of a connection from peer. Each of its lines has the attributes args, as in
// [slog.Logger.With].
func (l *Log) Connection(peer net.Addr, args ...any) *Connection {
	var record slog.Record
	record.Add(args...)
	c := &Connection{log: l, peer: peer}
	record.Attrs(func(attr slog.Attr) bool { c.attrs = append(c.attrs, attr); return true })
	return c
}

// Unauthenticated returns a logger for lines that unauthenticated clients cause and that belong to no connection. Each
// line is allowed if the first line of an unauthenticated connection would be.
func (l *Log) Unauthenticated() *slog.Logger {
	return slog.New(singleLines{handler{conn: l.Connection(nil)}})
}

// singleLines is a handler that treats each record as the only line of a connection.
type singleLines struct{ handler }

func (s singleLines) Handle(ctx context.Context, record slog.Record) error {
	s.handler.conn = s.conn.log.Connection(nil)
	return s.handler.Handle(ctx, record)
}
