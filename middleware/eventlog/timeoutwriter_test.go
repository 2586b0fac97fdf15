package eventlog_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"foyer/middleware/eventlog"
)

// stuckWriter blocks in Write until it receives.
type stuckWriter struct {
	bytes.Buffer
	free chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.free
	return w.Buffer.Write(p)
}

func TestTimeoutWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &stuckWriter{free: make(chan struct{})}
		var lost []int
		w := eventlog.NewTimeoutWriter(to, func(lines int) { lost = append(lost, lines) })
		write := func(text string, takes time.Duration) {
			t.Helper()
			began := time.Now() // the bubble's
			if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
				t.Errorf("wrote %d bytes of %q, error %v", n, text, err)
			}
			if took := time.Since(began); took != takes {
				t.Errorf("%q took %v, want %v", text, took, takes)
			}
		}
		go func() { time.Sleep(time.Second / 2); to.free <- struct{}{} }()
		write("slow\n", time.Second/2)
		write("late\n", time.Second)
		write("lost\n", 0)
		write("lost\nlost\n", 0)
		to.free <- struct{}{}
		synctest.Wait()
		go func() { to.free <- struct{}{} }()
		write("again\n", 0)
		if got := to.String(); got != "slow\nlate\nagain\n" || len(lost) != 1 || lost[0] != 3 {
			t.Errorf("written %q, lost %v", got, lost)
		}
		if got := w.Lost(); got != 3 {
			t.Errorf("%d lines are lost", got)
		}
	})
}

// failingWriter returns an error.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestTimeoutWriterErrors(t *testing.T) {
	if _, err := eventlog.NewTimeoutWriter(failingWriter{}, nil).Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}
