package eventlog

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"foyer/middleware/eventlog/sanitize"
)

const (
	// maxDelay is how long a line may wait for others. Nobody reads a log in less, and at a thousand logins a second a
	// hundred lines are written together, which makes each login a twentieth cheaper.
	maxDelay = 20 * time.Millisecond
	// maxQueued is how many lines may wait. Where the log takes them more slowly than they come, visitors wait for it.
	maxQueued = 256
)

// queue holds the lines of connections on their way to the log. They are formatted by a goroutine of their own, in the
// order in which they were written, so that a connection's goroutines keep the small stacks that they begin with.
type queue struct {
	handler slog.Handler
	batch   *BatchWriter // nil where nothing waits

	mu      sync.Mutex
	waiting []slog.Record

	writing sync.Mutex
	written []slog.Record // memory for the next ones to wait in
}

// add has a record written: soon, or at once if it is an error, which may be the last thing that the process says.
func (q *queue) add(record slog.Record) {
	q.mu.Lock()
	q.waiting = append(q.waiting, record)
	n := len(q.waiting)
	q.mu.Unlock()
	switch {
	case q.batch == nil, record.Level >= slog.LevelError, n >= maxQueued:
		q.flush()
	case n == 1:
		time.AfterFunc(maxDelay, q.flush)
	}
}

// flush writes what waits.
func (q *queue) flush() {
	q.writing.Lock()
	defer q.writing.Unlock()
	q.mu.Lock()
	waiting := q.waiting
	q.waiting = q.written[:0]
	q.mu.Unlock()

	q.batch.hold()
	defer q.batch.release()
	for _, record := range waiting {
		q.write(record)
	}
	clear(waiting)
	q.written = waiting
}

// write formats a record. A value that cannot be formatted does not end the process.
func (q *queue) write(record slog.Record) {
	defer func() {
		if r := recover(); r != nil {
			slog.New(q.handler).Error("line not written", "event", record.Message, "panic", sanitize.String(fmt.Sprint(r), 256))
		}
	}()
	_ = q.handler.Handle(context.Background(), record)
}
