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
	// maxDelay is how long a line may wait for others. It is too short for a reader of the log to notice. At a thousand
	// logins a second, 100 lines are written together, which saves a twentieth of the CPU time of each login.
	maxDelay = 20 * time.Millisecond
	// maxQueued is how many lines may wait. If they are written more slowly than they arrive, connections wait for the
	// log.
	maxQueued = 256
)

// queue holds lines until they are written. It formats them in a goroutine of its own, in the order in which they were
// added, so that the goroutines of connections keep their small initial stacks.
type queue struct {
	handler slog.Handler
	batch   *BatchWriter // nil if lines do not wait

	mu      sync.Mutex
	waiting []slog.Record

	writing sync.Mutex
	written []slog.Record // reused as waiting
}

// add queues a record. It writes an error at once, because the process may end after it.
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

// flush writes the waiting lines.
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

// write formats a record. A panic in a value's String method does not end the process.
func (q *queue) write(record slog.Record) {
	defer func() {
		if r := recover(); r != nil {
			slog.New(q.handler).Error("line not written", "event", record.Message, "panic", sanitize.String(fmt.Sprint(r), 256))
		}
	}()
	_ = q.handler.Handle(context.Background(), record)
}
