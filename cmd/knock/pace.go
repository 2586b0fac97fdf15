package main

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// pace says how visitors come. In a closed loop each of a number of visitors comes again as soon as they are done, so
// that a slow server is asked less. In an open loop they come at a rate, whatever becomes of those before them, and a
// slow server makes a queue.
type pace struct {
	visitors int           // who may be at the door at the same time
	duration time.Duration // how long they come; 0 for no end
	count    int64         // how many come; 0 for no end
	rate     float64       // how many come in a second; 0 for a closed loop
}

// afterFailure is how long a visitor of a closed loop waits before the next try, so that a server that is not there
// does not keep a core busy.
const afterFailure = 20 * time.Millisecond

// knock lets visitors come until all have been, the time is over or ctx is done, and waits for the last to leave. A
// visit reports whether it succeeded. It returns how many came and found so many others there that they had to wait.
func (p pace) knock(ctx context.Context, visit func(intended time.Time) bool) (waited int64) {
	if p.rate > 0 {
		return p.open(ctx, visit)
	}
	p.closed(ctx, visit)
	return 0
}

func (p pace) closed(ctx context.Context, visit func(time.Time) bool) {
	if p.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.duration)
		defer cancel()
	}
	var came atomic.Int64
	var all sync.WaitGroup
	visitors := int64(p.visitors)
	if p.count > 0 {
		visitors = min(visitors, p.count)
	}
	for range visitors {
		all.Go(func() {
			for ctx.Err() == nil && (p.count == 0 || came.Add(1) <= p.count) {
				if !visit(time.Now()) {
					sleep(ctx, afterFailure)
				}
			}
		})
	}
	all.Wait()
}

// open has every visitor come who was due, even where the one before is late: whoever had to wait, waited at the door,
// and their login counts from when they were due. The last has as long as all others until the next would be due: a
// single login in the second that was asked for is one a second, however soon it is done.
func (p pace) open(ctx context.Context, visit func(time.Time) bool) (waited int64) {
	var all sync.WaitGroup
	defer all.Wait()
	turns := make(chan struct{}, p.visitors)
	start := time.Now()
	var k int64
	for ; p.count == 0 || k < p.count; k++ {
		due := p.due(k)
		if p.duration > 0 && due >= p.duration || !sleep(ctx, due-time.Since(start)) {
			break
		}
		select {
		case turns <- struct{}{}:
		default:
			waited++
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				return waited
			}
		}
		all.Go(func() {
			defer func() { <-turns }()
			visit(start.Add(due))
		})
	}
	sleep(ctx, p.due(k)-time.Since(start))
	return waited
}

// due is when visitor k of an open loop comes, since its start, and no later than its end.
func (p pace) due(k int64) time.Duration {
	end := p.duration
	if end == 0 {
		end = math.MaxInt64
	}
	due := float64(k) / p.rate * float64(time.Second)
	if due >= float64(end) {
		return end
	}
	return time.Duration(due)
}

// sleep waits, not at all where d is in the past, and reports whether ctx is still not done.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
