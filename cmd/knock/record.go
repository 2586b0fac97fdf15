package main

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"foyer/cmd/knock/report"
)

// record collects the results of logins. Use newRecord.
type record struct {
	mu         sync.Mutex
	start      time.Time
	histograms [phases]*hdrhistogram.Histogram // in microseconds, of successful logins
	logins     int64                           // successful ones
	failed     int64
	reasons    map[string]int64 // of failures
	intervals  []interval       // all of the same width
	width      time.Duration
	server     serverInfo // from the first login
}

// interval is one part of the timeline.
type interval struct {
	logins, failed int64
	slowest        time.Duration
}

func newRecord() *record {
	r := &record{start: time.Now(), reasons: map[string]int64{}, width: firstWidth}
	for p := range r.histograms {
		r.histograms[p] = hdrhistogram.New(1, time.Hour.Microseconds(), 3)
	}
	return r
}

// begin starts the time of the measurement.
func (r *record) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start = time.Now()
}

// add counts a login.
func (r *record) add(login result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.interval(time.Since(r.start))
	if login.err != nil {
		r.failed++
		r.addReason(login.err.Error())
		in.failed++
		return
	}
	if r.logins++; r.logins == 1 {
		r.server = login.server
	}
	for p, took := range login.took {
		if took > 0 {
			_ = r.histograms[p].RecordValue(min(max(took.Microseconds(), 1), time.Hour.Microseconds()))
		}
	}
	in.logins++
	in.slowest = max(in.slowest, login.took[wholeLogin])
}

const (
	firstWidth   = 100 * time.Millisecond
	maxIntervals = 56 // with their labels they fit into 80 columns
)

// interval returns the interval of a time. When there are too many, it merges neighbors.
func (r *record) interval(at time.Duration) *interval {
	for at >= maxIntervals*r.width {
		half := make([]interval, (len(r.intervals)+1)/2)
		for i, one := range r.intervals {
			half[i/2].merge(one)
		}
		r.intervals, r.width = half, 2*r.width
	}
	for time.Duration(len(r.intervals))*r.width <= at {
		r.intervals = append(r.intervals, interval{})
	}
	return &r.intervals[at/r.width]
}

func (i *interval) merge(other interval) {
	i.logins, i.failed, i.slowest = i.logins+other.logins, i.failed+other.failed, max(i.slowest, other.slowest)
}

// timeline returns the intervals up to elapsed. A short rest is added to the interval before: its rate would be noise.
func (r *record) timeline(elapsed time.Duration) (list []report.Interval) {
	r.interval(max(0, elapsed-1))
	if last := len(r.intervals) - 1; last > 0 && elapsed-time.Duration(last)*r.width < r.width/2 {
		r.intervals[last-1].merge(r.intervals[last])
		r.intervals = r.intervals[:last]
	}
	for i, one := range r.intervals {
		start, end := time.Duration(i)*r.width, time.Duration(i+1)*r.width
		if i == len(r.intervals)-1 {
			end = elapsed
		}
		list = append(list, report.Interval{
			Start: start.Seconds(), Width: (end - start).Seconds(),
			Logins: one.logins, Failed: one.failed, Slowest: float64(one.slowest.Microseconds()) / 1e3,
		})
	}
	return list
}

// counts returns how many logins have succeeded and failed so far.
func (r *record) counts() (logins, failed int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logins, r.failed
}

func (r *record) latency() (list []report.Latency) {
	for p, h := range r.histograms {
		if h.TotalCount() > 0 {
			list = append(list, report.Latency{Phase: phase(p).String(), Percentiles: report.PercentilesOf(h)})
		}
	}
	return list
}

// maxReasons limits how many reasons are told apart, because a server can give a new one for each login.
const maxReasons, otherReasons = 50, "other reasons"

func (r *record) addReason(reason string) {
	if _, known := r.reasons[reason]; !known && len(r.reasons) >= maxReasons {
		reason = otherReasons
	}
	r.reasons[reason]++
}
