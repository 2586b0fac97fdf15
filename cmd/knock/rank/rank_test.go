package rank_test

import (
	"slices"
	"testing"

	"foyer/cmd/knock/rank"
)

func TestQuartiles(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want rank.Quartiles
	}{
		{[]float64{7}, rank.Quartiles{Q1: 7, Median: 7, Q3: 7}},
		{[]float64{2, 1}, rank.Quartiles{Q1: 1.25, Median: 1.5, Q3: 1.75}},
		{[]float64{5, 1, 4, 2, 3}, rank.Quartiles{Q1: 2, Median: 3, Q3: 4}},
		{[]float64{4, 3, 2, 1}, rank.Quartiles{Q1: 1.75, Median: 2.5, Q3: 3.25}},
		{[]float64{4, 1, 3, 2}, rank.Quartiles{Q1: 1.75, Median: 2.5, Q3: 3.25}},
	} {
		before := slices.Clone(tt.in)
		if got := rank.QuartilesOf(tt.in); *got != tt.want {
			t.Errorf("the quartiles of %v are %+v, want %+v", tt.in, *got, tt.want)
		}
		if !slices.Equal(before, tt.in) {
			t.Errorf("%v was sorted in place", before)
		}
	}
	if got := rank.QuartilesOf(nil); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
}
