package eventlog

import (
	"io"
	"sync"
)

// BatchWriter is a logger's writer that can hold lines back and write them with one system call.
type BatchWriter struct {
	to io.Writer

	mu      sync.Mutex
	holding bool
	held    []byte
}

// NewBatchWriter returns a writer that writes to w.
func NewBatchWriter(w io.Writer) *BatchWriter { return &BatchWriter{to: w} }

// Write implements [io.Writer].
func (b *BatchWriter) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.holding {
		return b.to.Write(line)
	}
	b.held = append(b.held, line...)
	return len(line), nil
}

// hold holds lines back until release. On a nil writer both do nothing.
func (b *BatchWriter) hold() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = true
}

func (b *BatchWriter) release() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holding = false
	if len(b.held) > 0 {
		_, _ = b.to.Write(b.held)
		b.held = b.held[:0]
	}
}
