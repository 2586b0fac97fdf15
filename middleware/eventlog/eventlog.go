// Package bounded bounds what connections write to the log: each of them, and all of them together.
//
// A [Log] has a budget for strangers and another one for who is authenticated, so that a flood of the former does not
// hide the latter, and a third for errors, which nothing but errors hides. Each lets a burst through, and then so many
// lines a second. What is left out is counted in a counters, which tells of it once an interval.
//
// The lines of a connection are all there, or mostly not: a stranger's is in the log from its first line on or not at
// all, its last line is paid for with its first, and lines that belong together are asked for together.
package eventlog

import (
	"cmp"
	"net"
	"time"

	"charm.land/log/v2"

	"foyer/middleware/eventlog/counters"
)

// Rate is how many lines a second each budget lets through by default: 25 visitors with four lines each, two million a
// day. With lines of 200 bytes it is 20 kB a second, so that an hour's flood of strangers writes 75 MB, and one that
// an accomplice with a password joins writes as much again.
const Rate = 100

// Burst is how many seconds' worth of lines are let through at once, 25,000 lines by default, or 5 MB. The front page
// of a news site sends 5,000 visitors in ten seconds: those are 10,000 lines until they are authenticated, some more
// where they mistype, and 15,000 after. It takes four quiet minutes until that may happen again.
const Burst = 250 * time.Second

// MaxLines is how many lines a connection may write, errors aside. A visit has five, and 40 sessions on a connection
// that is kept open are still within it.
const MaxLines = 100

// Logger writes lines: a [log.Logger] does, and a [Connection].
type Logger interface {
	Log(level log.Level, event any, facts ...any)
	Debug(event any, facts ...any)
	Info(event any, facts ...any)
	Warn(event any, facts ...any)
	Error(event any, facts ...any)
}

// Sink is where the lines of all connections go: a [log.Logger], or a [Log] that bounds one.
type Sink interface {
	Logger
	GetLevel() log.Level
	With(facts ...any) *log.Logger
}

// Config is what a [Log] lets through.
type Config struct {
	// Sink takes the lines; the default logger where it is nil.
	Sink Sink
	// Rate is how many lines a second; the constant Rate where it is zero, and without a bound where it is negative.
	Rate int
	// Counters counts the lines that are left out, and tells of them. Where it is nil the log has one of its own.
	Counters *counters.Counters
	// Page is what Sink writes to. With it, lines of connections wait for others, 20 ms at most: a process that is killed
	// takes those of its last moment with it, errors aside. Without, each is written at once. Facts must not change
	// after they were written.
	Page *Page
	// Now is for tests; [time.Now] where it is nil.
	Now func() time.Time
}

// Log is a log that connections write to. What is written to it directly, as to a logger, is not bounded.
type Log struct {
	Sink
	counters                 *counters.Counters
	now                      func() time.Time
	each                     time.Duration // what a line costs of a budget
	lines                    *lines
	strangers, known, errors budget
}

// New returns a log in which no line was written.
func New(cfg Config) *Log {
	if cfg.Sink == nil {
		cfg.Sink = log.Default()
	}
	if cfg.Counters == nil {
		cfg.Counters = counters.New(counters.Config{Logger: cfg.Sink})
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	each := max(0, time.Second/time.Duration(cmp.Or(cfg.Rate, Rate)))
	return &Log{Sink: cfg.Sink, counters: cfg.Counters, now: cfg.Now, each: each, lines: newLines(cfg.Sink, cfg.Page)}
}

// Of returns sink if it is a Log, and else one with the default bounds.
func Of(sink Sink) *Log {
	if l, ok := sink.(*Log); ok {
		return l
	}
	return New(Config{Sink: sink})
}

// Flush writes the lines that wait.
func (l *Log) Flush() { l.lines.write() }

// Strangers is a log of lines that strangers cause and that belong to no connection. Each is let through as the first of a
// stranger's connection would be.
type Strangers struct{ log *Log }

// Strangers returns the log of such lines.
func (l *Log) Strangers() Strangers { return Strangers{l} }

// Info writes a line at that level if it is let through.
func (s Strangers) Info(event any, facts ...any) { s.log.Connection(nil).Info(event, facts...) }

// Warn writes a line at that level if it is let through.
func (s Strangers) Warn(event any, facts ...any) { s.log.Connection(nil).Warn(event, facts...) }

// Connection returns what writes the lines of a connection from peer, each with the facts.
func (l *Log) Connection(peer net.Addr, facts ...any) *Connection {
	return &Connection{log: l, peer: peer, facts: facts, level: l.GetLevel()}
}
