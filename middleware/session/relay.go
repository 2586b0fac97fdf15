package session

import (
	"context"
	"slices"
	"sync"
)

// relay delivers what a client sent, a signal or a break, to a listener, and never blocks the sender, even if the
// listener is slow or has not registered yet. Values that wait are in the queue once each, in order of arrival, as
// pending signals are in POSIX. So the length of the queue is bounded by the number of different values.
type relay[T comparable] struct {
	registering sync.Mutex // held by listen, so that there is one listener at a time

	mu      sync.Mutex
	pending []T
	arrived chan struct{} // capacity 1; made by listen
	stop    func()        // not nil while there is a listener; returns when nothing more is sent to it
}

// send queues v and reports whether it will be delivered. Without a listener, v is queued if keep is true and dropped if
// not.
func (r *relay[T]) send(v T, keep bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop == nil && !keep {
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

// listen delivers the pending values and then new ones to c, until ctx is done or listen is called again. With a nil c
// it only removes the previous listener.
func (r *relay[T]) listen(ctx context.Context, c chan<- T) {
	r.registering.Lock()
	defer r.registering.Unlock()
	r.mu.Lock()
	stop := r.stop
	r.stop = nil
	r.mu.Unlock()
	if stop != nil {
		stop()
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
	r.stop = func() { cancel(); <-done }
	go func() {
		defer close(done)
		defer cancel()
		r.deliver(ctx, c, arrived)
	}()
}

// deliver runs in the listener's goroutine. It removes a value from the queue before it sends it to c. If the same value
// arrives meanwhile, it is queued again and not lost as a duplicate.
func (r *relay[T]) deliver(ctx context.Context, c chan<- T, arrived <-chan struct{}) {
	var v T
	offered := false
	defer func() {
		// A handler may close its channel without unregistering it. Then a send panics, and delivery ends.
		closed := recover() != nil
		r.endDelivery(v, offered, closed)
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

// next removes the oldest value from the queue.
func (r *relay[T]) next() (v T, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		return v, false
	}
	v, r.pending = r.pending[0], r.pending[1:]
	return v, true
}

// endDelivery puts a value that was not received back at the front of the queue.
func (r *relay[T]) endDelivery(v T, offered, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if offered {
		others := slices.DeleteFunc(r.pending, func(other T) bool { return other == v })
		r.pending = slices.Insert(others, 0, v)
	}
	if closed {
		r.stop = nil
	}
}
