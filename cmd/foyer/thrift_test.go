package main

import (
	"context"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"foyer/middleware/auth/passwords"
	"foyer/middleware/sshtest"
)

// byDefault puts the Go runtime's settings back to what they are by default, now and at the end, and returns how many
// processors those are.
func byDefault(t *testing.T) (processors int) {
	restore := func() {
		runtime.SetDefaultGOMAXPROCS()
		debug.SetGCPercent(100)
	}
	restore()
	t.Cleanup(restore)
	return runtime.GOMAXPROCS(0)
}

// asked returns a figure of the Go runtime's.
func asked(name string) int {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}

const (
	gogc   = "/gc/gogc:percent"
	forced = "/gc/cycles/forced:gc-cycles"
)

// One processor, all, and one again, as long as steps have waited; and room for 16 MiB of garbage while many come.
func TestThrift(t *testing.T) {
	all := byDefault(t)
	t.Setenv("GOMAXPROCS", "")
	t.Setenv("GOGC", "")
	var is load
	thrift := newThrift(sshtest.NewLog().Logger(), func() load { return is })
	thrift.useOne()
	now := time.Now()
	for i, look := range []struct {
		after       time.Duration
		late, steps uint64 // since the one before
		allocated   uint64 // in MiB, since the one before
		alive       uint64 // in MiB
		processors  int
		percent     int
	}{
		{0, 0, 0, 0, 0, 1, 100},
		{lookEvery, 0, 1000, 4, 1, 1, 100},
		{lookEvery, 50, 1000, 5, 1, 1, 400}, // one in twenty
		{lookEvery, 51, 1000, 5, 1, all, 400},
		{lookEvery, 0, 1000, 5, 8, all, 200},
		{lookEvery, 0, 1000, 5, 100, all, 100},
		{calm - 4*lookEvery, 1, 10, 5, 5, all, 320},  // and again
		{calm - lookEvery, 0, 1000, 0, 1, all, 100},  // which counts from then
		{lookEvery, 0, 0, 0, 1, 1, 100},              // calm for long enough, be it that nobody came
		{24 * time.Hour, 1, 1, 0, 1, all, 100},       // the first after a night
		{24 * time.Hour, 1000, 1000, 5, 1, all, 400}, // and the next, which waits too
		{24 * time.Hour, 1000, 100_000, 5, 1, 1, 400},
	} {
		now = now.Add(look.after)
		is.late += look.late
		is.steps += look.steps
		is.alive = look.alive << 20
		is.allocated += look.allocated << 20
		thrift.look(now)
		if processors, percent := runtime.GOMAXPROCS(0), asked(gogc); processors != look.processors || percent != look.percent {
			t.Fatalf("look %d: %d processors, want %d; GOGC=%d, want %d", i, processors, look.processors, percent, look.percent)
		}
	}
}

// When nobody has come for a second, what the start or the last visitors left is cleared away, if that is worth it.
func TestThriftTidies(t *testing.T) {
	byDefault(t)
	t.Setenv("GOGC", "")
	var is load
	thrift := newThrift(sshtest.NewLog().Logger(), func() load { return is })
	now, before := thrift.came, asked(forced)
	for i, look := range []struct {
		after                        time.Duration
		allocated, alive, notCleared uint64 // the first since the one before
		goroutines                   uint64
		tidy                         bool
	}{
		{rest - 1, quiet, 0, dust + 1, 10, false},
		{1, 0, 0, dust, 10, false},
		{0, 0, 0, dust + 1, 10, true}, // the start's
		{lookEvery, quiet + 1, 8 * dust, 9 * dust, 10, false},
		{rest, 0, 8 * dust, 9 * dust, 10, false},
		{lookEvery, 0, 8 * dust, 9*dust + 1, 10, true},
		{lookEvery, quiet, 80 * dust, 89 * dust, 10, false}, // worth less than an eighth
		{lookEvery, quiet + 1, 80 * dust, 91 * dust, 8000, false},
		{rest - 1, 0, 80 * dust, 91 * dust, 8000, false},
		{1, 0, 80 * dust, 91 * dust, 8000, true},
		{lookEvery, 0, 91 * dust, 80 * dust, 7000, false}, // less than lived, since the runtime counts while it clears
		{lookEvery, 0, 80 * dust, 80 * dust, 6999, true},  // and more than an eighth have left
		{lookEvery, 0, 80 * dust, 80 * dust, 6999, false},
	} {
		now = now.Add(look.after)
		is.allocated += look.allocated
		is.alive, is.notCleared, is.goroutines = look.alive, look.notCleared, look.goroutines
		thrift.look(now)
		if after := asked(forced); after > before != look.tidy {
			t.Errorf("look %d: tidied %d times, want %t", i, after-before, look.tidy)
		}
		before = asked(forced)
	}
}

// A collection that the runtime has made itself has found what those had who had left by then.
func TestThriftLeavesToTheRuntime(t *testing.T) {
	byDefault(t)
	t.Setenv("GOGC", "")
	is := load{goroutines: 8000}
	thrift := newThrift(sshtest.NewLog().Logger(), func() load { return is })
	now, before := thrift.came.Add(time.Hour), asked(forced)
	is.collections, is.goroutines = 1, 10
	thrift.look(now)
	if after := asked(forced); after != before {
		t.Errorf("tidied %d times", after-before)
	}
}

// What is measured of this process are figures that move as they should.
func TestLoadOfProcess(t *testing.T) {
	measure := loadOfProcess()
	before := measure()
	left := make([][]byte, 1000)
	for i := range left {
		left[i] = make([]byte, 10<<10)
		runtime.Gosched()
	}
	laden := measure()
	if n := laden.allocated - before.allocated; n < 9<<20 || laden.steps <= before.steps || laden.notCleared < laden.alive {
		t.Errorf("%d bytes allocated; %+v, then %+v", n, before, laden)
	}
	runtime.KeepAlive(left)
	runtime.GC()
	if tidied := measure(); tidied.collections <= before.collections || tidied.goroutines == 0 || tidied.notCleared > laden.notCleared {
		t.Errorf("%+v, and after a collection %+v", laden, tidied)
	}
}

// What the operator has said of the Go runtime stays so, and the process is as Go has it at the end.
func TestBeThrifty(t *testing.T) {
	all := byDefault(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		gomaxprocs, gogc    string
		processors, percent int
	}{
		{"", "", all, 100},
		{"3", "", 3, 100},
		{"", "50", all, 50},
		{"3", "50", 3, 50},
	} {
		t.Run("GOMAXPROCS="+tt.gomaxprocs+" GOGC="+tt.gogc, func(t *testing.T) {
			byDefault(t)
			t.Setenv("GOMAXPROCS", tt.gomaxprocs)
			t.Setenv("GOGC", tt.gogc)
			runtime.GOMAXPROCS(tt.processors) // as the Go runtime has read them
			debug.SetGCPercent(tt.percent)
			log := sshtest.NewLog()
			beThrifty(ended, log.Logger())
			if got, want := strings.Contains(log.String(), "one processor is enough"), tt.gomaxprocs == ""; got != want {
				t.Errorf("one processor is enough: %t, want %t", got, want)
			}
			if processors, percent := runtime.GOMAXPROCS(0), asked(gogc); processors != tt.processors || percent != tt.percent {
				t.Errorf("%d processors afterwards, GOGC=%d", processors, percent)
			}
		})
	}
}

// A door works on one processor until somebody waits for it, which is as soon as passwords are guessed.
func TestDoorTakesProcessors(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	door := startDoor(t, "--penalty-exempt", "127.0.0.0/8", "--log-format", "logfmt", "--log-level", "debug")
	if err := passwords.Add(filepath.Join(door.dir, "ssh-passwords"), "alice", "alice's"); err != nil {
		t.Fatal(err)
	}
	siege := besiege(t, door, 8, 1)
	for deadline := time.Now().Add(visitorPatience); !strings.Contains(door.log(t), "one processor is not enough"); {
		if time.Now().After(deadline) {
			t.Fatal(door.log(t))
		}
		time.Sleep(10 * time.Millisecond)
	}
	siege.lift()
	if log := door.log(t); strings.Count(log, "one processor is enough") != 1 {
		t.Errorf("want one line at the start:\n%s", log)
	}
}
