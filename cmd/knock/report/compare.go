package report

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Compare is the result of comparing servers. Ratios are to the first server, within each round.
type Compare struct {
	Concurrency int        `json:"concurrency"`
	Window      float64    `json:"window_s"`
	Rounds      int        `json:"rounds"` // complete ones
	Servers     []Compared `json:"servers"`
	Interrupted bool       `json:"interrupted"`
}

// Compared is one server of a comparison.
type Compared struct {
	Name            string     `json:"name"`
	Server          Server     `json:"server"`
	Concurrency     int        `json:"concurrency"`
	Logins          int64      `json:"logins"`
	Failed          int64      `json:"failed"`
	Failures        []Failure  `json:"failures"`
	CPU             *Quartiles `json:"cpu_ms_per_login"`
	CPURatio        *Quartiles `json:"cpu_ratio"`
	Throughput      *Quartiles `json:"logins_per_s"`
	ThroughputRatio *Quartiles `json:"throughput_ratio"`
	P99             *Quartiles `json:"p99_ms"`
	Rounds          []Round    `json:"rounds"`

	reasons map[string]int64 // of Failures
}

// NewCompared returns a server without rounds.
func NewCompared(name string, concurrency int) Compared {
	return Compared{Name: name, Concurrency: concurrency, reasons: map[string]int64{}}
}

// Round is what one server did in one round.
type Round struct {
	Seconds   float64   `json:"seconds"`
	Logins    int64     `json:"logins"`
	Failed    int64     `json:"failed"`
	PerSecond float64   `json:"logins_per_s"`
	CPU       *float64  `json:"cpu_ms_per_login"` // of the server; null if it was not measured
	P50       float64   `json:"p50_ms"`
	P99       float64   `json:"p99_ms"`
	Failures  []Failure `json:"-"`
}

// RoundOf returns the result of one window. It is an error if no login succeeded, or if the CPU time that was asked for
// is missing.
func RoundOf(m *Measurement) (Round, error) {
	switch {
	case m.Logins == 0 && m.Failed == 0:
		return Round{}, errors.New("no login started; the window is too short")
	case m.Logins == 0:
		return Round{}, fmt.Errorf("no login succeeded: %s", m.Failures[0].Reason)
	case m.UsageError != "":
		return Round{}, errors.New(m.UsageError)
	}
	whole := m.Latency[len(m.Latency)-1]
	r := Round{
		Seconds: m.Seconds, Logins: m.Logins, Failed: m.Failed, PerSecond: m.PerSecond, P50: whole.P50, P99: whole.P99,
		Failures: m.Failures,
	}
	if m.Usage != nil {
		r.CPU = m.Usage.PerLogin
	}
	return r, nil
}

// Add adds a round that was complete: one result for each server.
func (c *Compare) Add(results []Round) {
	c.Rounds++
	for i, result := range results {
		s := &c.Servers[i]
		s.Rounds = append(s.Rounds, result)
		s.Logins += result.Logins
		s.Failed += result.Failed
		for _, failure := range result.Failures {
			s.reasons[failure.Reason] += failure.Count
		}
		s.Failures = Failures(s.reasons)
	}
	for i := range c.Servers {
		c.Servers[i].summarize(c.Servers[0].Rounds)
	}
}

// Failures returns counts by reason as a list, the most frequent reason first.
func Failures(counts map[string]int64) []Failure {
	list := []Failure{}
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, Failure{reason, counts[reason]})
	}
	slices.SortStableFunc(list, func(a, b Failure) int { return cmp.Compare(b.Count, a.Count) })
	return list
}

// summarize computes the quartiles. Ratios are computed within each round: a disturbance of the machine that lasts
// longer than a round affects both servers.
func (s *Compared) summarize(first []Round) {
	var cpu, cpuRatio, throughput, throughputRatio, p99 []float64
	for i, r := range s.Rounds {
		if r.CPU != nil {
			cpu = append(cpu, *r.CPU)
			if base := first[i].CPU; base != nil && *base > 0 {
				cpuRatio = append(cpuRatio, *r.CPU / *base)
			}
		}
		throughput = append(throughput, r.PerSecond)
		throughputRatio = append(throughputRatio, r.PerSecond/first[i].PerSecond)
		p99 = append(p99, r.P99)
	}
	s.CPU, s.CPURatio = QuartilesOf(cpu), QuartilesOf(cpuRatio)
	s.Throughput, s.ThroughputRatio = QuartilesOf(throughput), QuartilesOf(throughputRatio)
	s.P99 = QuartilesOf(p99)
}

// Quartiles summarize the rounds of a comparison.
type Quartiles struct {
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
}

// QuartilesOf interpolates between ranks, which is the default of R and NumPy. It returns nil for no values.
func QuartilesOf(values []float64) *Quartiles {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		rank := q * float64(len(sorted)-1)
		below := int(rank)
		above := min(below+1, len(sorted)-1)
		return sorted[below] + (rank-float64(below))*(sorted[above]-sorted[below])
	}
	return &Quartiles{at(0.25), at(0.5), at(0.75)}
}
