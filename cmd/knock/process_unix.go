//go:build !windows

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuClock returns the CPU time of a process, without its children, in nanoseconds. The clock's ID is made as
// clock_getcpuclockid(3) makes it.
func cpuClock(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED: the time of all threads
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &spent); err != nil {
		return 0, err
	}
	return time.Duration(spent.Nano()), nil
}

// pss returns the proportional set size in bytes.
func (p process) pss() (int64, error) {
	rollup, err := p.ProcSMapsRollup()
	return int64(rollup.Pss), err
}
