package main

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// record is what is known of the logins so far. Its zero value is not ready: newRecord makes one.
type record struct {
	mu         sync.Mutex
	began      time.Time
	histograms [phases]*hdrhistogram.Histogram // in microseconds, of successful logins
	late       *hdrhistogram.Histogram         // in microseconds, of all
	logins     int64                           // that succeeded
	failures   int64
	reasons    tally
	samples    samples
	server     facts // of the first login
}

// histogram holds values from a microsecond to an hour, to three digits.
func histogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Hour.Microseconds(), 3) }

func newRecord() *record {
	r := &record{began: time.Now(), late: histogram(), reasons: tally{}, samples: samples{every: 1}}
	for p := range r.histograms {
		r.histograms[p] = histogram()
	}
	return r
}

// add takes down one login.
func (r *record) add(login result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	put(r.late, login.late)
	sample := sample{at: login.intended.Sub(r.began), took: login.took[wholeLogin], failed: login.err != nil}
	if sample.failed {
		sample.took = time.Since(login.intended)
		r.failures++
		r.reasons.add(login.err.Error(), 1)
	} else {
		r.succeed(login)
	}
	r.samples.add(sample)
}

func (r *record) succeed(login result) {
	if r.logins++; r.logins == 1 {
		r.server = login.server
	}
	for p, reached := range login.reached {
		if reached {
			put(r.histograms[p], login.took[p])
		}
	}
}

// merge adds what is known from another series of logins, but for when they were: what is told of several has no
// timeline.
func (r *record) merge(other *record) {
	if r.logins == 0 {
		r.server = other.server
	}
	r.logins += other.logins
	r.failures += other.failures
	for p, h := range other.histograms {
		r.histograms[p].Merge(h)
	}
	for reason, n := range other.reasons {
		r.reasons.add(reason, n)
	}
}

// put counts a duration, the longest that there can be if it is longer.
func put(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), h.HighestTrackableValue()))
}

// counts returns how many logins succeeded and failed so far.
func (r *record) counts() (logins, failures int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logins, r.failures
}

// sample is one login for the timeline.
type sample struct {
	at     time.Duration // its intended start
	took   time.Duration // until it was over, one way or the other
	failed bool
}

// samples are logins evenly chosen from all that there were: every one, until they are too many.
type samples struct {
	kept  []sample
	every int64 // login is kept
	seen  int64
}

// maxSamples bounds the memory of a long measurement, to 6 MiB.
const maxSamples = 1 << 18

func (s *samples) add(one sample) {
	if s.seen++; s.seen%s.every != 0 {
		return
	}
	if s.kept = append(s.kept, one); len(s.kept) < maxSamples {
		return
	}
	for i := range maxSamples / 2 {
		s.kept[i] = s.kept[2*i+1]
	}
	s.kept, s.every = s.kept[:maxSamples/2], s.every*2
}

// percentiles are what a distribution is told by.
type percentiles struct {
	Count int64   `json:"count"`  // how many values there are
	P50   float64 `json:"p50_ms"` // milliseconds
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
	Mean  float64 `json:"mean_ms"`
}

func percentilesOf(h *hdrhistogram.Histogram) percentiles {
	at := func(percent float64) float64 { return float64(h.ValueAtPercentile(percent)) / 1e3 }
	return percentiles{h.TotalCount(), at(50), at(90), at(99), float64(h.Max()) / 1e3, h.Mean() / 1e3}
}

// reasonCount is how often logins failed for one reason.
type reasonCount struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// sorted returns the reasons, the most frequent one first.
func (t tally) sorted() []reasonCount {
	list := []reasonCount{}
	for _, reason := range slices.Sorted(maps.Keys(t)) {
		list = append(list, reasonCount{reason, t[reason]})
	}
	slices.SortStableFunc(list, func(a, b reasonCount) int { return int(b.Count - a.Count) })
	return list
}
