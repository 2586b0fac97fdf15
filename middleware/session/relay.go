package session

import (
	"context"
	"slices"
	"sync"
)

// relay hands on what a client sent, a signal or a break, to a listener that may be slow, late or gone, and never
// makes the sender wait. What is not yet delivered waits, each value once and in order of arrival, as pending
// signals do in POSIX: that bounds the queue by the number of values there are.
type relay[T comparable] struct {
	mu      sync.Mutex
	pending []T
	arrived chan struct{} // capacity 1; made by listen
	unhook  func()        // not nil while somebody listens; returns when the listener is left alone
}

// send passes v on, and reports whether somebody listens.
func (r *relay[T]) send(v T) (listening bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.pending, v) {
		r.pending = append(r.pending, v)
	}
	if r.unhook == nil {
		return false
	}
	select {
	case r.arrived <- struct{}{}:
	default:
	}
	return true
}

// drop forgets what is pending.
func (r *relay[T]) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = nil
}

// listen delivers to c, what is pending first, until ctx is done or listen is called again; with nil to nobody.
func (r *relay[T]) listen(ctx context.Context, c chan<- T) {
	r.mu.Lock()
	unhook := r.unhook
	r.unhook = nil
	r.mu.Unlock()
	if unhook != nil {
		unhook()
	}
	if c == nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived = make(chan struct{}, 1)
	r.unhook = func() { cancel(); <-done }
	go func() {
		defer close(done)
		r.deliver(ctx, c, r.arrived)
	}()
}

// deliver is the listener's goroutine.
func (r *relay[T]) deliver(ctx context.Context, c chan<- T, arrived <-chan struct{}) {
	// A handler that closes its channel without unregistering it wants no more; a send on it panics.
	defer func() { _ = recover() }()
	for {
		v, waiting := r.oldest()
		if !waiting {
			select {
			case <-arrived:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case c <- v:
			r.taken()
		case <-ctx.Done():
			return
		}
	}
}

func (r *relay[T]) oldest() (v T, waiting bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		return v, false
	}
	return r.pending[0], true
}

func (r *relay[T]) taken() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = r.pending[1:]
}
