package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// load says when logins start. In a closed loop a number of clients log in again as soon as they are done, so a slow
// server gets fewer logins. In an open loop logins start at a rate, so they queue at a slow server.
type load struct {
	concurrency int           // logins at a time
	duration    time.Duration // 0 means no limit
	count       int64         // 0 means no limit
	rate        float64       // logins a second; 0 means a closed loop
}

// run starts logins until the count or the duration is reached or ctx is done, and waits for the last one. login
// reports whether it succeeded. run returns how many logins of an open loop had to wait for others to end.
func (l load) run(ctx context.Context, login func(intended time.Time) bool) (queued int64) {
	if l.rate > 0 {
		return l.runOpen(ctx, login)
	}
	l.runClosed(ctx, login)
	return 0
}

func (l load) runClosed(ctx context.Context, login func(time.Time) bool) {
	if l.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.duration)
		defer cancel()
	}
	var started atomic.Int64
	var clients sync.WaitGroup
	number := int64(l.concurrency)
	if l.count > 0 {
		number = min(number, l.count)
	}
	for range number {
		clients.Go(func() {
			for ctx.Err() == nil && (l.count == 0 || started.Add(1) <= l.count) {
				if !login(time.Now()) {
					sleep(ctx, 20*time.Millisecond) // or a server that is down would keep a core busy
				}
			}
		})
	}
	clients.Wait()
}

// runOpen starts every login that is due, even if earlier ones are late, because a login's time counts from when it was
// due. It ends when the next login would be due: one login at one a second takes a second.
func (l load) runOpen(ctx context.Context, login func(time.Time) bool) (queued int64) {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, l.concurrency)
	start := time.Now()
	var k int64
	for ; l.count == 0 || k < l.count; k++ {
		due := l.due(k)
		if l.duration > 0 && due >= l.duration || !sleep(ctx, due-time.Since(start)) {
			break
		}
		select {
		case slots <- struct{}{}:
		default:
			queued++
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return queued
			}
		}
		running.Go(func() {
			defer func() { <-slots }()
			login(start.Add(due))
		})
	}
	sleep(ctx, l.due(k)-time.Since(start))
	return queued
}

// due returns when login k of an open loop is due, at most the duration.
func (l load) due(k int64) time.Duration {
	due := time.Duration(float64(k) / l.rate * float64(time.Second))
	if l.duration > 0 {
		return min(due, l.duration)
	}
	return due
}

// sleep waits for d, and reports whether ctx is not done.
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

// hopeless is after how many failures without a success a measurement stops. With wrong credentials every further login
// would fail, too.
const hopeless = 10

// runUntilHopeless is run, but it stops when the first logins in the record have all failed.
func (l load) runUntilHopeless(ctx context.Context, r *record, login func(time.Time) bool) (queued int64, gaveUp bool) {
	errHopeless := errors.New("the first logins all failed")
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	queued = l.run(ctx, func(intended time.Time) bool {
		ok := login(intended)
		logins, failed := r.counts()
		if logins == 0 && failed >= hopeless && (l.count == 0 || failed < l.count) {
			stop(errHopeless)
		}
		return ok
	})
	return queued, context.Cause(ctx) == errHopeless
}
