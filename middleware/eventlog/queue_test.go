package eventlog_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/eventlog"
	"foyer/middleware/sshtest"
)

// writes are the calls that a log costs.
type writes struct {
	mu    sync.Mutex
	calls []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, string(bytes.Clone(p)))
	return len(p), nil
}

func (w *writes) expect(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.calls {
		w.calls[i] = dates.ReplaceAllString(w.calls[i], "time=$1")
	}
	if got := fmt.Sprintf("%q", w.calls); got != fmt.Sprintf("%q", want) {
		t.Errorf("wrote %s, want %q", got, want)
	}
	w.calls = nil
}

// dates are times, of which the second of the minute is of interest.
var dates = regexp.MustCompile(`time=\S+:(\d\d\.\d\d\d)\S*`)

// batched returns a log whose lines wait, and the logger that it writes to.
func batched(w io.Writer) (*eventlog.Log, *slog.Logger) {
	batch := eventlog.NewBatchWriter(w)
	logger := eventlog.NewLogger(batch, "logfmt", slog.LevelInfo)
	return eventlog.New(eventlog.Config{Logger: logger, Batch: batch, Rate: -1}), logger
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{}
		lines, logger := batched(w)
		a, b := lines.Connection(nil, "conn", "a"), lines.Connection(nil, "conn", "b")
		a.Log(slog.LevelInfo, "one")
		time.Sleep(10 * time.Millisecond)
		b.Log(slog.LevelInfo, "two", "k", 1)
		w.expect(t)
		logger.Info("mine") // not a connection's
		w.expect(t, "time=00.010 level=info msg=mine\n")
		time.Sleep(11 * time.Millisecond)
		synctest.Wait()
		w.expect(t, "time=00.000 level=info msg=one conn=a\ntime=00.010 level=info msg=two conn=b k=1\n")

		b.Log(slog.LevelWarn, "three")
		a.Log(slog.LevelError, "four")
		w.expect(t, "time=00.021 level=warn msg=three conn=b\ntime=00.021 level=error msg=four conn=a\n")
		time.Sleep(time.Second)
		synctest.Wait()
		w.expect(t)

		a.Log(slog.LevelInfo, "five")
		lines.Flush()
		w.expect(t, "time=01.021 level=info msg=five conn=a\n")
		lines.Flush()
		w.expect(t)
	})
}

// Without a batch nothing waits.
func TestQueueWithoutBatch(t *testing.T) {
	text := sshtest.NewLog()
	eventlog.New(eventlog.Config{Logger: text.Logger()}).Connection(nil).Log(slog.LevelInfo, "one")
	if got := text.String(); got != "level=info msg=one\n" {
		t.Errorf("the log is %q", got)
	}
}

// If lines come more quickly than the log takes them, their writers wait.
func TestQueueIsBounded(t *testing.T) {
	slow := &stuck{free: make(chan struct{})}
	lines, _ := batched(slow)
	written := make(chan int)
	const visitors, each = 8, 90
	for i := range visitors {
		go func() {
			c := lines.Connection(nil, "conn", i)
			for n := range each {
				c.Log(slog.LevelInfo, "line")
				written <- n
			}
		}()
	}
	n := 0
	for stuck := false; !stuck; {
		select {
		case <-written:
			n++
		case <-time.After(300 * time.Millisecond):
			stuck = true
		}
	}
	// 256 in the write that is stuck, and as many that wait with their writers.
	if n < 256 || n > 2*256 {
		t.Errorf("%d lines were taken while none was written", n)
	}
	close(slow.free)
	for ; n < visitors*each; n++ {
		<-written
	}
	lines.Flush()
	if got := strings.Count(slow.text.String(), "line"); got != n {
		t.Errorf("%d lines of %d are in the log", got, n)
	}
}

// stuck is a log that takes nothing until it is free.
type stuck struct {
	free chan struct{}
	text strings.Builder
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.free
	return s.text.Write(p)
}

// bomb is a handler that panics at the event "two".
type bomb struct{ slog.Handler }

func (b bomb) Handle(ctx context.Context, record slog.Record) error {
	if record.Message == "two" {
		panic("boom\n")
	}
	return b.Handler.Handle(ctx, record)
}

// A line that cannot be formatted costs neither the lines around it nor the process.
func TestQueueThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{}
		batch := eventlog.NewBatchWriter(w)
		logger := slog.New(bomb{eventlog.NewLogger(batch, "logfmt", slog.LevelInfo).Handler()})
		c := eventlog.New(eventlog.Config{Logger: logger, Batch: batch}).Connection(nil, "conn", "a")
		c.Log(slog.LevelInfo, "one")
		c.Log(slog.LevelInfo, "two", "k", "v")
		c.Log(slog.LevelInfo, "three")
		time.Sleep(time.Second)
		synctest.Wait()
		w.expect(t, "time=00.000 level=info msg=one conn=a\n"+
			"time=00.020 level=error msg=\"line not written\" event=two panic=boom\\n\n"+
			"time=00.000 level=info msg=three conn=a\n")
	})
}

// value is a value that panics when it is formatted.
type value struct{}

func (value) MarshalText() ([]byte, error) { panic("boom") }

// A value that panics costs no more than itself.
func TestValueThatPanics(t *testing.T) {
	for format, want := range map[string]string{"logfmt": "!PANIC: boom", "json": "!PANIC: boom", "text": "event"} {
		text := sshtest.NewLog()
		c := eventlog.New(eventlog.Config{Logger: eventlog.NewLogger(text, format, slog.LevelInfo)}).Connection(nil)
		c.Log(slog.LevelInfo, "event", "k", value{})
		c.Log(slog.LevelInfo, "later")
		if got := text.String(); !strings.Contains(got, want) || !strings.Contains(got, "later") {
			t.Errorf("%s: the log is %q", format, got)
		}
	}
}
