package main

import (
	"slices"

	"foyer/cmd/knock/rank"
)

// quartiles are what rounds are told by.
type quartiles rank.Quartiles

func quartilesOf(values []float64) *quartiles { return (*quartiles)(rank.QuartilesOf(values)) }

// window is what one door did in one round, by one method.
type window struct {
	Round     int     `json:"round"` // from 1
	Logins    int64   `json:"logins"`
	Failed    int64   `json:"failed"`
	PerSecond float64 `json:"logins_per_s"`
	CPU       float64 `json:"cpu_us_per_login"` // of the server
	P50       float64 `json:"p50_ms"`           // of whole logins
	P99       float64 `json:"p99_ms"`
}

// figure is one of a window's figures.
type figure func(window) float64

func cpu(w window) float64        { return w.CPU }
func throughput(w window) float64 { return w.PerSecond }
func p50(w window) float64        { return w.P50 }
func p99(w window) float64        { return w.P99 }

// over returns a figure in all rounds.
func over(windows []window, of figure) (values []float64) {
	for _, w := range windows {
		values = append(values, of(w))
	}
	return values
}

// ratios returns a door's CPU per login divided by a peer's, round by round: what disturbs the machine for longer than
// a round disturbs both alike. A round that one of them has not is left out.
func ratios(door, peer []window) (values []float64) {
	for _, p := range peer {
		i := slices.IndexFunc(door, func(d window) bool { return d.Round == p.Round })
		if i >= 0 && p.CPU > 0 {
			values = append(values, door[i].CPU/p.CPU)
		}
	}
	return values
}
