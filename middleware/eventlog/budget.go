package eventlog

import (
	"sync"
	"time"
)

// budget is a token bucket: it lets a burst through, and then as much as time brings. The zero value is full.
type budget struct {
	mu   sync.Mutex
	paid time.Time // when time will have brought back all that was taken
}

// take reports whether there is cost left at this moment, and takes it if so.
func (b *budget) take(now time.Time, cost time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	paid := b.paid
	if paid.Before(now) {
		paid = now
	}
	paid = paid.Add(cost)
	if paid.Sub(now) > Burst {
		return false
	}
	b.paid = paid
	return true
}
