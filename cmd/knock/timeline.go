package main

import (
	"math"
	"slices"
	"time"
)

// interval is a part of the time of a measurement.
type interval struct {
	At     float64  `json:"at_s"`   // where it begins
	Width  float64  `json:"for_s"`  //
	Logins int64    `json:"logins"` // that succeeded in it
	Failed int64    `json:"failed"` // that failed in it
	P50    *float64 `json:"p50_ms"` // of those that began in it and succeeded; null where none did
	P99    *float64 `json:"p99_ms"`
}

// maxIntervals is how many intervals a timeline has at most.
const maxIntervals = 120

// intervalWidths are those that people count in.
var intervalWidths = []time.Duration{
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour,
}

func intervalWidth(elapsed time.Duration) time.Duration {
	for _, width := range intervalWidths {
		if elapsed <= maxIntervals*width {
			return width
		}
	}
	return elapsed/maxIntervals + 1
}

// timeline divides the measurement: a latency stands where its login should have begun, and a login where it was over.
func (s *samples) timeline(elapsed time.Duration) []interval {
	width := intervalWidth(elapsed)
	list := make([]interval, max(1, (elapsed+width/2)/width)) // the last one takes in what is left over
	for i := range list {
		list[i].At, list[i].Width = (time.Duration(i) * width).Seconds(), width.Seconds()
	}
	list[len(list)-1].Width = (elapsed - time.Duration(len(list)-1)*width).Seconds()
	in := func(at time.Duration) int { return min(max(int(at/width), 0), len(list)-1) }
	began := make([][]time.Duration, len(list))
	for _, one := range s.kept {
		over := &list[in(one.at+one.took)]
		if one.failed {
			over.Failed += s.every
			continue
		}
		over.Logins += s.every
		began[in(one.at)] = append(began[in(one.at)], one.took)
	}
	for i, took := range began {
		list[i].P50, list[i].P99 = quantile(took, 0.50), quantile(took, 0.99)
	}
	return list
}

// quantile returns the nearest rank in milliseconds, and sorts what it is given.
func quantile(took []time.Duration, q float64) *float64 {
	if len(took) == 0 {
		return nil
	}
	slices.Sort(took)
	rank := max(0, int(math.Ceil(q*float64(len(took))))-1)
	value := float64(took[rank].Microseconds()) / 1e3
	return &value
}
