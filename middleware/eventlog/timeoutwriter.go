package eventlog

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// writeTimeout is how long a write may take before its reader counts as one that does not read.
const writeTimeout = time.Second

// TimeoutWriter keeps a reader that does not read, such as the other end of a pipe, from blocking the server. While a write
// takes longer than a second, the lines that follow are lost.
type TimeoutWriter struct {
	to   io.Writer
	lost func(lines int)

	mu      sync.Mutex
	pending chan error // of a write that takes too long; nil if there is none
	lines   int        // that were lost
	total   uint64     // lines that were lost so far
}

// Lost returns how many lines were lost so far.
func (t *TimeoutWriter) Lost() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// NewTimeoutWriter returns a writer that writes to w. When w can be written to again, lost is called with the number of lost
// lines.
func NewTimeoutWriter(w io.Writer, lost func(lines int)) *TimeoutWriter {
	return &TimeoutWriter{to: w, lost: lost}
}

// Write implements [io.Writer]. It returns when p is written, or after a second; while an earlier write is not over, it
// returns at once. A line that is lost is not an error.
func (t *TimeoutWriter) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending != nil {
		n := bytes.Count(p, []byte{'\n'})
		t.lines, t.total = t.lines+n, t.total+uint64(n)
		return len(p), nil
	}
	written, line := make(chan error, 1), bytes.Clone(p)
	go func() {
		_, err := t.to.Write(line)
		written <- err
	}()
	timeout := time.NewTimer(writeTimeout)
	defer timeout.Stop()
	select {
	case err := <-written:
		return len(p), err
	case <-timeout.C:
		t.pending = written
		go t.wait()
		return len(p), nil
	}
}

// wait waits until the pending write is over.
func (t *TimeoutWriter) wait() {
	<-t.pending
	t.mu.Lock()
	lines := t.lines
	t.pending, t.lines = nil, 0
	t.mu.Unlock()
	if lines > 0 {
		t.lost(lines)
	}
}
