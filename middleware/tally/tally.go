// Package tally counts the limits that bite, by reason: the one place where they all come together.
package tally

import (
	"maps"
	"net"
	"sync"
)

// Reason names a limit.
type Reason string

// Tally counts how often each limit was reached. Its methods may be called by several goroutines; a nil Tally counts
// nothing.
type Tally struct {
	mu     sync.Mutex
	counts map[Reason]uint64
}

// New returns a tally in which nothing was counted.
func New() *Tally {
	return &Tally{counts: map[Reason]uint64{}}
}

// Count counts that peer has reached the limit that reason names.
func (t *Tally) Count(reason Reason, peer net.Addr) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[reason]++
}

// Counts returns how often each limit was reached so far.
func (t *Tally) Counts() map[Reason]uint64 {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}
