package main

import (
	"foyer/cmd/cli"
	"foyer/cmd/descriptors"
)

// ownDescriptors are for what is no connection: the terminal, the report, /proc.
const ownDescriptors = 16

// affords returns how many connections knock can have at once, a descriptor each, and a million at most.
func affords() int { return max(1, min(descriptors.Limit(), 1<<20)-ownDescriptors) }

// affordable returns an error where that is less than what was asked for.
func affordable(what string, asked int64) error {
	if most := affords(); asked > int64(most) {
		return cli.Misuse("raise the limit first, as in ulimit -n 65536", "%d %s: there are descriptors for %d", asked, what, most)
	}
	return nil
}
