package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuClock reads the CPU clock of a process, which belongs to the clock that clock_getcpuclockid(3) makes of its number.
func cpuClock(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED: what the scheduler has counted, of all threads
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &spent); err != nil {
		return 0, err
	}
	return time.Duration(spent.Nano()), nil
}
