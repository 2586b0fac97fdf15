package share

import (
	"sync"
	"time"
)

// pending are the penalties that are not sent yet, added up for each source. They decrease while they wait, as all
// penalties do. It is safe for concurrent use.
type pending struct {
	limit int
	most  time.Duration // the largest penalty

	mu      sync.Mutex
	sources map[string]owed
	oldest  time.Time // when the first of them came
	dropped uint64
	wake    chan struct{} // has one element if something came
}

// owed is a [Charge], by the time at which it will have decreased to nothing.
type owed struct {
	least, amount time.Time
	blocked       bool
}

func newPending(limit int, most time.Duration) *pending {
	return &pending{limit: limit, most: most, sources: map[string]owed{}, wake: make(chan struct{}, 1)}
}

// add adds a charge.
func (p *pending) add(now time.Time, c Charge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	source, known := p.sources[c.ID]
	if !known && len(p.sources) >= p.limit {
		p.dropped++
		return
	}
	if len(p.sources) == 0 {
		p.oldest = now
	}
	if end := now.Add(c.Least); end.After(source.least) {
		source.least, source.blocked = end, c.Blocked
	}
	source.amount = now.Add(min(max(source.amount.Sub(now), 0)+c.Amount, p.most))
	p.sources[c.ID] = source
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take removes up to n charges and returns them, without those that have decreased to nothing.
func (p *pending) take(now time.Time, n int) (charges []Charge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, source := range p.sources {
		if len(charges) == n {
			return charges
		}
		delete(p.sources, id)
		if c := source.charge(now, id); c.Least > 0 || c.Amount > 0 {
			charges = append(charges, c)
		}
	}
	return charges
}

// restore takes back charges that were perhaps sent: the engine must not add them twice.
func (p *pending) restore(now time.Time, charges []Charge) {
	for _, c := range charges {
		p.add(now, Charge{ID: c.ID, Least: min(c.Least+c.Amount, p.most), Blocked: c.Blocked})
	}
}

// expire removes the sources whose charges have decreased to nothing.
func (p *pending) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, source := range p.sources {
		if c := source.charge(now, id); c.Least <= 0 && c.Amount <= 0 {
			delete(p.sources, id)
		}
	}
}

func (o owed) charge(now time.Time, id string) Charge {
	return Charge{id, max(o.least.Sub(now), 0), max(o.amount.Sub(now), 0), o.blocked}
}

// lag returns how long the first of the charges has been waiting.
func (p *pending) lag(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sources) == 0 {
		return 0
	}
	return now.Sub(p.oldest)
}
