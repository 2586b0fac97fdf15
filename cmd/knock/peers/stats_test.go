package main

import (
	"slices"
	"testing"
)

func TestQuartiles(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   quartiles
	}{
		{[]float64{7}, quartiles{7, 7, 7}},
		{[]float64{4, 1, 3, 2}, quartiles{1.75, 2.5, 3.25}},
		{[]float64{5, 1, 4, 2, 3}, quartiles{2, 3, 4}},
	} {
		before := slices.Clone(test.values)
		if got := quartilesOf(test.values); *got != test.want {
			t.Errorf("the quartiles of %v are %v, want %v", test.values, *got, test.want)
		}
		if !slices.Equal(before, test.values) {
			t.Errorf("%v was sorted in place", before)
		}
	}
	if got := quartilesOf(nil); got != nil {
		t.Errorf("the quartiles of nothing are %v", got)
	}
}

// A ratio is of two windows of the same round.
func TestRatios(t *testing.T) {
	door := []window{{Round: 1, CPU: 100}, {Round: 2, CPU: 300}, {Round: 3, CPU: 50}}
	peer := []window{{Round: 3, CPU: 100}, {Round: 1, CPU: 200}, {Round: 2}, {Round: 4, CPU: 1}}
	if got, want := ratios(door, peer), []float64{0.5, 0.5}; !slices.Equal(got, want) {
		t.Errorf("the ratios are %v, want %v", got, want)
	}
}
