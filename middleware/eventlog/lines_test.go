package eventlog_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"charm.land/log/v2"

	"foyer/middleware/eventlog"
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
	if got := fmt.Sprintf("%q", w.calls); got != fmt.Sprintf("%q", want) {
		t.Errorf("wrote %s, want %q", got, want)
	}
	w.calls = nil
}

// paged is a log whose lines wait, with the second of the minute in each.
func paged(w *writes, format log.Formatter) (*eventlog.Log, *log.Logger) {
	page := eventlog.NewPage(w)
	logger := log.NewWithOptions(page, log.Options{Formatter: format, ReportTimestamp: true, TimeFormat: "05.000"})
	return eventlog.New(eventlog.Config{Sink: logger, Page: page, Rate: -1}), logger
}

func TestLinesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{}
		lines, logger := paged(w, log.LogfmtFormatter)
		a, b := lines.Connection(nil, "conn", "a"), lines.Connection(nil, "conn", "b")
		a.Info("one")
		time.Sleep(10 * time.Millisecond)
		b.Info("two", "k", 1)
		w.expect(t)
		logger.Info("mine") // not a connection's
		w.expect(t, "time=00.010 level=info msg=mine\n")
		time.Sleep(11 * time.Millisecond)
		synctest.Wait()
		w.expect(t, "time=00.000 level=info msg=one conn=a\ntime=00.010 level=info msg=two conn=b k=1\n")

		b.Warn("three")
		a.Error("four")
		w.expect(t, "time=00.021 level=warn msg=three conn=b\ntime=00.021 level=error msg=four conn=a\n")
		time.Sleep(time.Second)
		synctest.Wait()
		w.expect(t)

		a.Info("five")
		lines.Flush()
		w.expect(t, "time=01.021 level=info msg=five conn=a\n")
		lines.Flush()
		w.expect(t)
	})
}

// Without a page nothing waits.
func TestLinesWithoutPage(t *testing.T) {
	w := &writes{}
	logger := log.NewWithOptions(w, log.Options{Formatter: log.LogfmtFormatter})
	eventlog.New(eventlog.Config{Sink: logger}).Connection(nil).Info("one")
	w.expect(t, "level=info msg=one\n")
}

// Where lines come more quickly than the log takes them, those who write them wait: they do not pile up.
func TestLinesDoNotPileUp(t *testing.T) {
	slow := &stuck{free: make(chan struct{})}
	page := eventlog.NewPage(slow)
	lines := eventlog.New(eventlog.Config{Sink: log.New(page), Page: page, Rate: -1})
	written := make(chan int)
	const visitors, each = 8, 90
	for i := range visitors {
		go func() {
			c := lines.Connection(nil, "conn", i)
			for n := range each {
				c.Info("line")
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
	// 256 on the page that is stuck, and as many that wait with their writers.
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

type bomb struct{}

func (bomb) MarshalText() ([]byte, error) { panic("boom\n") }

// A fact that panics costs its line, and neither the lines around it nor the process.
func TestLinesThatPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{}
		lines, _ := paged(w, log.JSONFormatter)
		c := lines.Connection(nil, "conn", "a")
		c.Info("one")
		c.Info("two", "k", bomb{})
		c.Info("three")
		time.Sleep(time.Second)
		synctest.Wait()
		text := strings.Join(w.calls, "")
		want := `{"time":"00.000","level":"info","msg":"one","conn":"a"}
{"time":"00.000","level":"error","msg":"line not written","event":"two","panic":"boom\\n"}
{"time":"00.000","level":"info","msg":"three","conn":"a"}
`
		if text != want {
			t.Errorf("the log is\n%swant\n%s", text, want)
		}
	})
}
