//go:build !race

package main

// slowness is the factor of time that the race detector costs, and bulk the factor of memory.
const slowness, bulk = 1, 1
