package passwords

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// period is the interval of reports about refused logins.
const period = time.Minute

// refusals counts refused logins.
type refusals struct {
	total atomic.Uint64

	mu       sync.Mutex
	last     time.Time // of the last report
	reported uint64    // the total at that time
}

// add counts one more refusal. At most once in a period it returns an error that reports the number since the last report.
func (r *refusals) add() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := r.total.Add(1)
	if !r.last.IsZero() && time.Since(r.last) < period {
		return nil
	}
	recent := total - r.reported
	r.last, r.reported = time.Now(), total
	return fmt.Errorf("%w: %d refused", ErrBusy, recent)
}
