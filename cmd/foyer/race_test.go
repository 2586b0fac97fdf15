//go:build race

package main

// slowness is how much longer everything takes with the race detector, and bulk how much more memory: it keeps some 100 KiB
// for each goroutine that there was at the worst moment, and gives none back.
const slowness, bulk = 5, 4
