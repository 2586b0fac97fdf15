// Package descriptors says how many files and connections a process may have open at once.
package descriptors

import "syscall"

// Limit returns the hard limit, to which the Go runtime raises the soft one, or 256, which is the least that systems of
// our days have, where the limit cannot be told.
func Limit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 256
	}
	return int(min(limit.Cur, 1<<30))
}
