// Package rank says what a measurement is like by the order of its values, which a disturbance of the machine moves less
// than their sum.
package rank

import "slices"

// Quartiles are what the rounds of a measurement are told by.
type Quartiles struct {
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
}

// QuartilesOf interpolates between ranks, as R and NumPy do unless they are told otherwise. Of nothing it is nil.
func QuartilesOf(values []float64) *Quartiles {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		rank := q * float64(len(sorted)-1)
		below := int(rank)
		above := min(below+1, len(sorted)-1)
		return sorted[below] + (rank-float64(below))*(sorted[above]-sorted[below])
	}
	return &Quartiles{at(0.25), at(0.5), at(0.75)}
}
