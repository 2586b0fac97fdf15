package cpuclock_test

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"foyer/cmd/knock/cpuclock"
	"foyer/middleware/sshtest"
)

// TestOf: the clock shows what the kernel tells the process itself.
func TestOf(t *testing.T) {
	spent := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			t.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	least := spent()
	got, err := cpuclock.Of(os.Getpid())
	sshtest.Need(t, "a CPU clock", "run on Linux", !errors.Is(err, errors.ErrUnsupported))
	const rounding = 2 * time.Microsecond // user and system time have one each
	if most := spent(); err != nil || got < least-rounding || got > most+rounding {
		t.Errorf("%s, %v; want %s to %s", got, err, least, most)
	}
	if got, err := cpuclock.Of(1 << 22); err == nil {
		t.Errorf("a process that is not there has used %s", got)
	}
}
