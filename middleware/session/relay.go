package session

import (
	"context"
	"slices"
	"sync"
)

// relay hands on what a client sent, a signal or a break, to a listener that may be slow, late or gone, and never
// makes the sender wait. What is not yet on its way waits, each value once and in order of arrival, as pending
// signals do in POSIX: that bounds the queue by the number of values there are.
type relay[T comparable] struct {
	registering sync.Mutex // held by listen: one listener after the other

	mu      sync.Mutex
	pending []T
	arrived chan struct{} // capacity 1; made by listen
	unhook  func()        // not nil while somebody listens; returns when the listener is left alone
}

// send passes v on and reports whether it will be delivered. Where nobody listens it waits for somebody if keep says
// so, and is dropped if not.
func (r *relay[T]) send(v T, keep bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unhook == nil && !keep {
		return false
	}
	if !slices.Contains(r.pending, v) {
		r.pending = append(r.pending, v)
	}
	select {
	case r.arrived <- struct{}{}:
	default:
	}
	return true
}

// listen delivers to c, what is pending first, until ctx is done or listen is called again; with nil to nobody.
func (r *relay[T]) listen(ctx context.Context, c chan<- T) {
	r.registering.Lock()
	defer r.registering.Unlock()
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
	arrived := make(chan struct{}, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived = arrived
	r.unhook = func() { cancel(); <-done }
	go func() {
		defer close(done)
		defer cancel()
		r.deliver(ctx, c, arrived)
	}()
}

// deliver is the listener's goroutine. A value leaves the queue before it is offered to c: one that arrives while its
// like is being taken is a new one, and never mistaken for it and lost.
func (r *relay[T]) deliver(ctx context.Context, c chan<- T, arrived <-chan struct{}) {
	var v T
	offered := false
	defer func() {
		// A handler that closes its channel without unregistering it wants no more; a send on it panics.
		closed := recover() != nil
		r.leave(v, offered, closed)
	}()
	for {
		if v, offered = r.next(); !offered {
			select {
			case <-arrived:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case c <- v:
		case <-ctx.Done():
			return
		}
	}
}

// next takes the oldest value out of the queue.
func (r *relay[T]) next() (v T, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		return v, false
	}
	v, r.pending = r.pending[0], r.pending[1:]
	return v, true
}

// leave ends a delivery. What was offered and not taken is the oldest value again.
func (r *relay[T]) leave(v T, offered, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if offered {
		others := slices.DeleteFunc(r.pending, func(other T) bool { return other == v })
		r.pending = slices.Insert(others, 0, v)
	}
	if closed {
		r.unhook = nil
	}
}
