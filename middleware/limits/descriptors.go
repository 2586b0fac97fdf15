//go:build !windows

package limits

import "syscall"

// Descriptors returns how many files and connections the process may have open: the hard limit, to which the Go runtime
// raises the soft one. It is 256 where the system does not say.
func Descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 256
	}
	return int(min(limit.Cur, 1<<30))
}
