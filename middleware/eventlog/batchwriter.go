package eventlog

import (
	"io"
	"sync"
)

// BatchWriter is what a logger writes to so that lines that have waited are written with one system call. Other lines are
// written as they come.
type BatchWriter struct {
	to io.Writer

	mu   sync.Mutex
	held bool
	text []byte
}

// NewBatchWriter returns a writer whose lines go to w.
func NewBatchWriter(w io.Writer) *BatchWriter { return &BatchWriter{to: w} }

// Write implements [io.Writer].
func (b *BatchWriter) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.held {
		return b.to.Write(line)
	}
	b.text = append(b.text, line...)
	return len(line), nil
}

// hold keeps lines back until release. Nil keeps nothing back.
func (b *BatchWriter) hold() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = true
}

func (b *BatchWriter) release() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = false
	if len(b.text) > 0 {
		_, _ = b.to.Write(b.text)
		b.text = b.text[:0]
	}
}
