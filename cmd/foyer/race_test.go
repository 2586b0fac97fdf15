//go:build race

package main

// slowness is the factor of time that the race detector costs, and bulk the factor of memory: the detector keeps some 100
// KiB for each goroutine of the peak, and does not free them.
const slowness, bulk = 5, 4
