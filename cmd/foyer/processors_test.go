package main

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"foyer/middleware/passwords"
	"foyer/middleware/sshtest"
)

func processorsByDefault() int {
	runtime.SetDefaultGOMAXPROCS()
	return runtime.GOMAXPROCS(0)
}

// One processor, all, and one again, as long as steps have waited.
func TestProcessors(t *testing.T) {
	all := processorsByDefault()
	t.Cleanup(runtime.SetDefaultGOMAXPROCS)
	var taken steps
	p := &processors{logger: sshtest.NewLog().Logger(), steps: func() steps { return taken }}
	p.useOne()
	now := time.Now()
	for i, look := range []struct {
		after     time.Duration
		late, all uint64 // steps since the one before
		want      int
	}{
		{0, 0, 0, 1},
		{lookEvery, 0, 1000, 1},
		{lookEvery, 50, 1000, 1}, // one in twenty
		{lookEvery, 51, 1000, all},
		{lookEvery, 0, 1000, all},
		{calm - 2*lookEvery, 1, 10, all},   // and again
		{calm - lookEvery, 0, 1000, all},   // which counts from then
		{lookEvery, 0, 0, 1},               // calm for long enough, be it that nobody came
		{24 * time.Hour, 1, 1, all},        // the first after a night
		{24 * time.Hour, 1000, 1000, all},  // and the next, which waits too
		{24 * time.Hour, 1000, 100_000, 1}, // and one who does not
	} {
		now = now.Add(look.after)
		taken.late += look.late
		taken.all += look.all
		p.look(now)
		if got := runtime.GOMAXPROCS(0); got != look.want {
			t.Fatalf("look %d: %d processors, want %d", i, got, look.want)
		}
	}
}

// The processors are the operator's to give, and the process's again at the end.
func TestSpareProcessors(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	all := processorsByDefault()
	for value, lines := range map[string]int{"": 1, "3": 0} {
		t.Setenv("GOMAXPROCS", value)
		log := sshtest.NewLog()
		spareProcessors(ctx, log.Logger())
		if got := strings.Count(log.String(), "one processor"); got != lines {
			t.Errorf("GOMAXPROCS=%s: %d lines, want %d", value, got, lines)
		}
		if got := runtime.GOMAXPROCS(0); got != all {
			t.Errorf("GOMAXPROCS=%s: %d processors afterwards, want %d", value, got, all)
		}
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
