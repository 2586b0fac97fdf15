package main

import (
	"slices"
	"testing"
)

// A ratio is of two windows of the same round.
func TestRatios(t *testing.T) {
	door := []window{{Round: 1, CPU: 100}, {Round: 2, CPU: 300}, {Round: 3, CPU: 50}}
	peer := []window{{Round: 3, CPU: 100}, {Round: 1, CPU: 200}, {Round: 2}, {Round: 4, CPU: 1}}
	if got, want := ratios(door, peer), []float64{0.5, 0.5}; !slices.Equal(got, want) {
		t.Errorf("the ratios are %v, want %v", got, want)
	}
}
