package eventlog

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"charm.land/log/v2"

	"foyer/middleware/eventlog/sanitize"
)

const (
	// delay is how long a line may wait for others. Nobody reads a log in less, and of a thousand logins a second a
	// hundred lines are written together, which makes each login a twentieth cheaper.
	delay = 20 * time.Millisecond
	// maxWaiting is how many lines may. Where the log takes them more slowly than they come, visitors wait for it.
	maxWaiting = 256
)

// lines are those of connections on their way to the log. A goroutine that comes for it formats them, in the order in
// which they were written: a connection's own goroutines keep the small stacks that they begin with.
type lines struct {
	page *Page // nil where nothing waits

	mu      sync.Mutex
	waiting []line

	writing sync.Mutex
	pen     *log.Logger
	at      time.Time // of the line that is being written
	written []line    // the memory for the next ones to wait in
}

type line struct {
	at          time.Time
	level       log.Level
	event       any
	conn, facts []any
}

func newLines(sink Sink, page *Page) *lines {
	l := &lines{page: page, pen: sink.With()}
	l.pen.SetTimeFunction(func(time.Time) time.Time { return l.at })
	return l
}

// add has a line written: soon, or at once if it is an error, which may be the last thing to be heard of the process.
func (l *lines) add(line line) {
	l.mu.Lock()
	l.waiting = append(l.waiting, line)
	n := len(l.waiting)
	l.mu.Unlock()
	switch {
	case l.page == nil, line.level >= log.ErrorLevel, n >= maxWaiting:
		l.write()
	case n == 1:
		time.AfterFunc(delay, l.write)
	}
}

// write writes what waits.
func (l *lines) write() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = l.written[:0]
	l.mu.Unlock()

	l.page.hold()
	defer l.page.release()
	for _, line := range waiting {
		l.tell(line)
	}
	clear(waiting)
	l.written = waiting
}

func (l *lines) tell(line line) {
	defer func() {
		if r := recover(); r != nil { // of a fact that cannot be shown, and no reason to end the process
			l.pen = l.pen.With() // without the half of the line that it has kept
			l.pen.Error("line not written", "event", line.event, "panic", sanitize.String(fmt.Sprint(r), 256))
		}
	}()
	l.at = line.at
	l.pen.Log(line.level, line.event, slices.Concat(line.conn, line.facts)...)
}
