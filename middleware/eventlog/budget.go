package eventlog

import (
	"sync"
	"time"
)

// budget is a token bucket. It holds [Burst] at most and refills in real time. The zero value is full.
type budget struct {
	mu   sync.Mutex
	full time.Time // when the bucket is full again
}

// take takes cost and reports true, or reports false if there is less than that.
func (b *budget) take(now time.Time, cost time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := b.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(cost)
	if full.Sub(now) > Burst {
		return false
	}
	b.full = full
	return true
}
