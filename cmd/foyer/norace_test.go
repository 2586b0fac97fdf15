//go:build !race

package main

// slowness is how much longer everything takes than without the race detector, and bulk how much more memory.
const slowness, bulk = 1, 1
