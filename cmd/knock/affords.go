package main

import (
	"syscall"

	"foyer/cmd/remedy"
)

// ownDescriptors are for what is no connection: the terminal, the report, the picture, /proc.
const ownDescriptors = 16

// affords returns how many connections knock can have at once: a descriptor each, of the hard limit, which the Go runtime
// has raised it to.
func affords() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return openVisitors
	}
	return max(1, int(min(limit.Cur, 1<<20))-ownDescriptors)
}

// affordable returns an error where that is less than what was asked for.
func affordable(what string, asked int64) error {
	if most := affords(); asked > int64(most) {
		return remedy.Misuse("raise the limit first, as in ulimit -n 65536", "%d %s: there are descriptors for %d", asked, what, most)
	}
	return nil
}
