package main

import (
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"foyer/middleware/passwords"
	"foyer/middleware/sshtest"
)

// One processor, all, and one again, as long as the steps of those who come have waited.
func TestProcessors(t *testing.T) {
	t.Setenv("GOMAXPROCS", "") // nothing said
	all := runtime.GOMAXPROCS(0)
	t.Cleanup(runtime.SetDefaultGOMAXPROCS)
	listener := sparing(nil, sshtest.NewLog().Logger())
	p, ok := listener.(*processors)
	if !ok {
		t.Fatal("not sparing")
	}
	var taken steps
	p.steps = func() steps { return taken }
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

// Somebody who has said how many is not asked again.
func TestProcessorsAsTold(t *testing.T) {
	t.Setenv("GOMAXPROCS", "3")
	before := runtime.GOMAXPROCS(0)
	listener := &failing{errs: []error{net.ErrClosed}}
	if got := sparing(listener, nil); got != net.Listener(listener) || runtime.GOMAXPROCS(0) != before {
		t.Errorf("%T, and %d processors, which were %d", got, runtime.GOMAXPROCS(0), before)
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
