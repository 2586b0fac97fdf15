// Package cpuclock reads the CPU time of other processes to the nanosecond, where /proc/PID/stat has hundredths of a second.
package cpuclock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Of returns what a process has used so far, without its children: the clock is the one that clock_getcpuclockid(3) makes
// of its number.
func Of(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED: what the scheduler has counted, of all threads
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &spent); err != nil {
		return 0, err
	}
	return time.Duration(spent.Nano()), nil
}
