package main

import (
	"strconv"
	"testing"
	"time"

	"foyer/cmd/knock/report"
)

func TestReasonsAreLimited(t *testing.T) {
	r := newRecord()
	for i := range 1000 {
		r.add(result{err: failed{strconv.Itoa(i)}})
	}
	if len(r.reasons) != maxReasons+1 || r.reasons[otherReasons] != 1000-maxReasons {
		t.Errorf("%d reasons, %d others", len(r.reasons), r.reasons[otherReasons])
	}
	if first := report.Failures(r.reasons)[0]; first.Reason != otherReasons {
		t.Errorf("the first is %v", first)
	}
}

// However long the measurement is, the timeline has at most maxIntervals, and every login is in one.
func TestTimeline(t *testing.T) {
	r := newRecord()
	for i := range 1000 {
		in := r.interval(time.Duration(i) * time.Second)
		in.logins++
		in.slowest = max(in.slowest, time.Duration(i)*time.Millisecond)
	}
	list := r.timeline(1000 * time.Second)
	var logins int64
	var end float64
	for _, one := range list {
		if one.Start < end-1e-6 || one.Start > end+1e-6 {
			t.Errorf("an interval starts at %g, and the one before ends at %g", one.Start, end)
		}
		logins, end = logins+one.Logins, one.Start+one.Width
	}
	if len(list) > maxIntervals || len(list) < maxIntervals/2 || logins != 1000 || end != 1000 {
		t.Errorf("%d intervals with %d logins until %g s", len(list), logins, end)
	}
	if last := list[len(list)-1]; last.Slowest != 999 {
		t.Errorf("%+v", last)
	}
	if got := newRecord().timeline(0); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}
