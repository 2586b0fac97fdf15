package main

import (
	"context"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"charm.land/log/v2"
)

const (
	// longWait is how long a step may wait for a processor, in seconds. Where more than one of longWaits waits longer,
	// one processor is not enough.
	longWait  = 0.002
	longWaits = 20
	// lookEvery is how often that is looked at, and calm how long nobody must have waited until one is enough again.
	lookEvery = 200 * time.Millisecond
	calm      = 10 * time.Second
)

// processors has the process work on one processor while that is enough, and on all of them once somebody waits for one:
// when many come at once, or passwords are hashed.
//
// A login is some sixty steps of a few microseconds each, and most of them wait for the client's answer to the one before.
// The Go scheduler wakes another processor for each that it could take, which costs a tenth of a login and makes none
// shorter. How long steps wait for a processor the runtime knows.
type processors struct {
	logger *log.Logger
	steps  func() steps

	before steps     // when was last looked
	waited time.Time // when too many were last found to have waited
	all    bool      // of the processors are in use
}

// steps is how many the process has taken, and how many of them have waited longer than longWait.
type steps struct{ late, all uint64 }

// spareProcessors has the process spare processors until ctx is done, unless the operator has said how many the Go runtime
// is to use.
func spareProcessors(ctx context.Context, logger *log.Logger) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	p := &processors{logger: logger, steps: scheduled()}
	p.before = p.steps()
	p.useOne()
	clock := time.NewTicker(lookEvery)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-clock.C:
			p.look(now)
		}
	}
}

// look finds out whether one processor was enough since the last time.
func (p *processors) look(now time.Time) {
	taken := p.steps()
	enough := longWaits*(taken.late-p.before.late) <= taken.all-p.before.all
	p.before = taken
	if !enough {
		p.waited = now
	}
	switch {
	case !enough && !p.all:
		p.useAll()
	case p.all && now.Sub(p.waited) >= calm:
		p.useOne()
	}
}

func (p *processors) useOne() {
	p.all = false
	runtime.GOMAXPROCS(1)
	p.logger.Debug("one processor is enough")
}

func (p *processors) useAll() {
	p.all = true
	runtime.SetDefaultGOMAXPROCS()
	p.logger.Debug("one processor is not enough", "all", runtime.GOMAXPROCS(0))
}

// scheduled returns a function that asks the Go runtime for the steps so far: how long goroutines that could run have
// waited until they did, of which it keeps one in eight.
func scheduled() func() steps {
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	return func() (taken steps) {
		metrics.Read(sample)
		waits := sample[0].Value.Float64Histogram()
		long, _ := slices.BinarySearch(waits.Buckets, longWait)
		for i, n := range waits.Counts {
			taken.all += n
			if i >= long {
				taken.late += n
			}
		}
		return taken
	}
}
