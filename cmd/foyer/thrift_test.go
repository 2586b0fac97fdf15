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

	"foyer/middleware/passwords"
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

// Little, all, and little again, as long as steps have waited.
func TestThrift(t *testing.T) {
	all := byDefault(t)
	t.Setenv("GOMAXPROCS", "")
	t.Setenv("GOGC", "")
	var is load
	thrift := newThrift(sshtest.NewLog().Logger(), func() load { return is })
	thrift.useLittle()
	now := time.Now()
	for i, look := range []struct {
		after       time.Duration
		late, steps uint64 // since the one before
		alive       uint64 // in MiB
		processors  int
		percent     int
	}{
		{0, 0, 0, 0, 1, 100},
		{lookEvery, 0, 1000, 1, 1, 100},
		{lookEvery, 50, 1000, 1, 1, 100}, // one in twenty
		{lookEvery, 51, 1000, 1, all, 400},
		{lookEvery, 0, 1000, 8, all, 200},
		{lookEvery, 0, 1000, 100, all, 100},
		{calm - 4*lookEvery, 1, 10, 5, all, 320},  // and again
		{calm - lookEvery, 0, 1000, 1, all, 400},  // which counts from then
		{lookEvery, 0, 0, 1, 1, 100},              // calm for long enough, be it that nobody came
		{24 * time.Hour, 1, 1, 1, all, 400},       // the first after a night
		{24 * time.Hour, 1000, 1000, 1, all, 400}, // and the next, which waits too
		{24 * time.Hour, 1000, 100_000, 1, 1, 100},
	} {
		now = now.Add(look.after)
		is.late += look.late
		is.steps += look.steps
		is.alive = look.alive << 20
		thrift.look(now)
		if processors, percent := runtime.GOMAXPROCS(0), asked(gogc); processors != look.processors || percent != look.percent {
			t.Fatalf("look %d: %d processors, want %d; GOGC=%d, want %d", i, processors, look.processors, percent, look.percent)
		}
	}
}

// When nobody has come for a second what the start or the last visitors left is cleared away, once.
func TestThriftTidies(t *testing.T) {
	byDefault(t)
	t.Setenv("GOGC", "")
	var is load
	thrift := newThrift(sshtest.NewLog().Logger(), func() load { return is })
	now, before := thrift.came, asked(forced)
	for i, look := range []struct {
		after time.Duration
		steps uint64
		tidy  bool
	}{
		{rest - 1, few, false},
		{1, 0, true},
		{time.Hour, few, false}, // nobody has come yet
		{lookEvery, few + 1, false},
		{lookEvery, 0, false},
		{rest - 2*lookEvery, 0, false},
		{lookEvery, few, true},
		{time.Hour, few, false}, // and nobody again
		{lookEvery, few + 1, false},
		{rest, few + 1, false},
		{rest, 0, true},
	} {
		now = now.Add(look.after)
		is.steps += look.steps
		thrift.look(now)
		if after := asked(forced); after > before != look.tidy {
			t.Errorf("look %d: tidied %d times, want %t", i, after-before, look.tidy)
		}
		before = asked(forced)
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
