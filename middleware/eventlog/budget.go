package eventlog

import (
	"sync"
	"time"
)

// budget is a token bucket that allows a burst and then as much as time brings. The zero value is full.
type budget struct {
	mu   sync.Mutex
	full time.Time // when time will have brought back all that was taken
}

// take reports whether cost is left now, and takes it if so.
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
