package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
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
	// A look finds no more than quiet bytes allocated where nobody has come: a login takes more, as a rule, and the
	// keepalives of three thousand who are there do not. rest is how long that lasts until it is time to tidy up.
	quiet = 32 << 10
	rest  = time.Second
	// room is how much garbage may lie about while many come, in bytes. littlest is when Go collects it at the earliest,
	// and many are those who leave more between two looks. dust, in bytes, and crumbs, goroutines that have ended, are not
	// worth a collection.
	room     = 16 << 20
	littlest = 4 << 20
	dust     = 256 << 10
	crumbs   = 100
)

// thrift has the process live on little:
//
//   - On one processor while that is enough, and on all once somebody waits, be it that many come at once or that
//     passwords are hashed. A login is some sixty steps of a few microseconds each, and most of them wait for the client's
//     answer to the one before. The Go scheduler wakes another processor for each that it could take, which costs a tenth
//     of a login and makes none shorter. How long steps wait for a processor the runtime knows.
//   - With as much garbage as lives in memory, or 16 MiB while many come. A collection looks at everything that lives,
//     which with many logins at a time takes a twelfth of each, and on one processor keeps all of them waiting. Once
//     nobody comes any more, what the last visitors left is cleared away, and the memory given back.
type thrift struct {
	logger     *log.Logger
	processors bool // are ours to spare, and not for the operator to give
	garbage    bool // is ours to leave
	measure    func() load

	before  load
	waited  time.Time // when too many steps were last found to have waited
	busy    bool      // all processors are taken
	came    time.Time // when somebody last did
	there   uint64    // goroutines at the last collection
	percent int       // the GOGC that is set
}

// load is what the process has had to do so far, and what it has in memory.
type load struct {
	steps, late       uint64 // and those of them that have waited longer than longWait
	allocated         uint64 // bytes
	collections       uint64
	alive, notCleared uint64 // bytes, in the last collection, and now, with all that has died since
	goroutines        uint64
}

// newThrift returns the thrift of a process that has just started, which leaves garbage too.
func newThrift(logger *log.Logger, measure func() load) *thrift {
	return &thrift{
		logger:     logger,
		processors: os.Getenv("GOMAXPROCS") == "",
		garbage:    os.Getenv("GOGC") == "",
		measure:    measure,
		before:     measure(),
		came:       time.Now(),
		percent:    100,
	}
}

// beThrifty has the process live on little until ctx is done, as far as the operator has not said how many processors the
// Go runtime is to use, or when it is to collect garbage.
func beThrifty(ctx context.Context, logger *log.Logger) {
	t := newThrift(logger, loadOfProcess())
	t.useOne()
	defer t.stop()
	clock := time.NewTicker(lookEvery)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-clock.C:
			t.look(now)
		}
	}
}

// look finds out whether little was enough since the last time, and whether somebody has come.
func (t *thrift) look(now time.Time) {
	is := t.measure()
	enough := longWaits*(is.late-t.before.late) <= is.steps-t.before.steps
	if !enough {
		t.waited = now
	}
	allocated := is.allocated - t.before.allocated
	if allocated > quiet {
		t.came = now
	}
	if is.collections != t.before.collections {
		t.there = is.goroutines
	}
	t.before = is
	switch {
	case !enough && !t.busy:
		t.useAll()
	case t.busy && now.Sub(t.waited) >= calm:
		t.useOne()
	}
	t.leave(allocated > littlest, is.alive)
	if t.garbage && now.Sub(t.came) >= rest && t.untidy() {
		debug.FreeOSMemory()
		t.before = t.measure() // its own work is nobody's
		t.there = t.before.goroutines
	}
}

// untidy reports whether a collection would find something: what was allocated since the last one, or what those had who
// have left since.
func (t *thrift) untidy() bool {
	is := t.before
	garbage := is.notCleared - min(is.alive, is.notCleared)
	left := t.there - min(is.goroutines, t.there)
	return garbage > max(dust, is.alive/8) || left > max(crumbs, t.there/8)
}

func (t *thrift) useOne() {
	t.busy = false
	if t.processors {
		runtime.GOMAXPROCS(1)
		t.logger.Debug("one processor is enough")
	}
}

func (t *thrift) useAll() {
	t.busy = true
	if t.processors {
		runtime.SetDefaultGOMAXPROCS()
		t.logger.Debug("one processor is not enough", "all", runtime.GOMAXPROCS(0))
	}
}

// leave has the runtime leave as much garbage where it is as is alive, and where many come as there is room for, if that
// is more. The world stands still for a moment to be told.
func (t *thrift) leave(many bool, alive uint64) {
	percent := 100
	if many {
		percent = int(max(100, 100*room/max(alive, littlest)))
	}
	if t.garbage && percent != t.percent {
		t.percent = percent
		debug.SetGCPercent(percent)
	}
}

// stop leaves the process as Go has it by default.
func (t *thrift) stop() {
	if t.processors {
		runtime.SetDefaultGOMAXPROCS()
	}
	if t.garbage {
		debug.SetGCPercent(100)
	}
}

// loadOfProcess returns a function that asks the Go runtime: of how long goroutines that could run have waited until they
// did it keeps one in eight.
func loadOfProcess() func() load {
	samples := []metrics.Sample{
		{Name: "/sched/latencies:seconds"},
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/sched/goroutines:goroutines"},
	}
	return func() load {
		metrics.Read(samples)
		is := load{
			allocated:   samples[1].Value.Uint64(),
			alive:       samples[2].Value.Uint64(),
			notCleared:  samples[3].Value.Uint64(),
			collections: samples[4].Value.Uint64(),
			goroutines:  samples[5].Value.Uint64(),
		}
		waits := samples[0].Value.Float64Histogram()
		long, _ := slices.BinarySearch(waits.Buckets, longWait)
		for i, n := range waits.Counts {
			is.steps += n
			if i >= long {
				is.late += n
			}
		}
		return is
	}
}
