package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"foyer/cmd/knock/rank"
)

// contest is a comparison of doors: each is measured in a short window, in turn, and again in every round. What
// disturbs the machine for longer than a window disturbs them alike, and so the ratio within a round is to be trusted
// where the figures themselves are not.
type contest struct {
	doors    []*door
	visitors int
	window   time.Duration
	rounds   int
	started  time.Time
	records  []*record  // one for each door, of all complete rounds
	results  [][]window // by round, then by door

	interrupted bool
}

// window is what one door did in one round.
type window struct {
	Round     int      `json:"round"` // from 1
	Place     int      `json:"place"` // when its turn was in the round, from 1
	Seconds   float64  `json:"seconds"`
	Logins    int64    `json:"logins"`
	Failed    int64    `json:"failed"`
	PerSecond float64  `json:"logins_per_s"`
	PerLogin  *float64 `json:"cpu_ms_per_login"` // of the server; null where it was not measured
}

// run measures all rounds, after one that does not count, in which caches fill and programs warm up. It ends early,
// with the rounds that are complete, when ctx is done, and with an error where a door's window could not be measured.
func (c *contest) run(ctx context.Context, shuffle func(n int) []int, tell func(round int, door string)) error {
	c.started = time.Now()
	for range c.doors {
		c.records = append(c.records, newRecord())
	}
	for round := range c.rounds + 1 {
		results, records := make([]window, len(c.doors)), make([]*record, len(c.doors))
		for place, i := range shuffle(len(c.doors)) {
			tell(round, c.doors[i].name)
			records[i] = newRecord()
			w, err := c.measure(ctx, c.doors[i], round, records[i])
			if c.interrupted = ctx.Err() != nil; c.interrupted {
				return nil
			}
			if err != nil {
				return fmt.Errorf("door %s: %w", c.doors[i].name, err)
			}
			w.Place = place + 1
			results[i] = w
		}
		if round > 0 {
			c.complete(results, records)
		}
	}
	return nil
}

// nameOf names a round.
func nameOf(round int) string {
	if round == 0 {
		return "the warm-up"
	}
	return fmt.Sprintf("round %d", round)
}

// complete takes down a round that all doors have been through.
func (c *contest) complete(results []window, records []*record) {
	c.results = append(c.results, results)
	for i, r := range records {
		c.records[i].merge(r)
	}
}

// shuffled is the order of a round.
func shuffled(n int) []int { return rand.Perm(n) }

// measure is one window.
func (c *contest) measure(ctx context.Context, d *door, round int, r *record) (w window, err error) {
	m, err := measure(ctx, d, pace{visitors: c.visitors, duration: c.window}, r)
	if err == nil && r.logins > 0 {
		err = m.lost
	}
	if err != nil {
		return w, fmt.Errorf("no figures of the server in %s: %w", nameOf(round), err)
	}
	w = window{Round: round, Seconds: m.elapsed.Seconds(), Logins: r.logins, Failed: r.failures}
	switch {
	case w.Logins == 0 && w.Failed == 0:
		return w, fmt.Errorf("no login was begun in %s: windows of %s are too short", nameOf(round), c.window)
	case w.Logins == 0:
		return w, fmt.Errorf("no login succeeded in %s: %s", nameOf(round), r.reasons)
	}
	w.PerSecond = float64(w.Logins) / w.Seconds
	if m.usage != nil {
		w.PerLogin = perLogin(m.usage.cpu, w.Logins)
	}
	return w, nil
}

// quartiles are what the rounds are told by.
type quartiles rank.Quartiles

func quartilesOf(values []float64) *quartiles { return (*quartiles)(rank.QuartilesOf(values)) }

// figure is one of a window's figures, and whether it was measured.
type figure func(window) (float64, bool)

func cpuPerLogin(w window) (float64, bool) {
	if w.PerLogin == nil {
		return 0, false
	}
	return *w.PerLogin, true
}

func loginsPerSecond(w window) (float64, bool) { return w.PerSecond, true }

// values returns a door's figure in all rounds.
func (c *contest) values(door int, of figure) (values []float64) {
	for _, round := range c.results {
		if value, known := of(round[door]); known {
			values = append(values, value)
		}
	}
	return values
}

// ratios returns a door's figure relative to the first door's, in each round.
func (c *contest) ratios(door int, of figure) (ratios []float64) {
	for _, round := range c.results {
		first, known := of(round[0])
		value, alsoKnown := of(round[door])
		if known && alsoKnown && first > 0 {
			ratios = append(ratios, value/first)
		}
	}
	return ratios
}
