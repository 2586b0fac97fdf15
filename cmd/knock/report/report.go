// Package report holds the results of knock's measurements: the types of its JSON output, the tables that it prints,
// and the lines in the format of Go benchmarks. Names of JSON fields end in their unit; a figure that was not measured
// is null.
package report

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Server is the server that was measured. What it reports about itself is empty if no login succeeded.
type Server struct {
	Target  string `json:"target"`  // user@host:port
	Address string `json:"address"` // IP address and port
	Version string `json:"version"` // its identification string
	Kex     string `json:"kex"`
	HostKey string `json:"hostkey_algorithm"`
	Cipher  string `json:"cipher"`
}

// Measurement is the result of measuring logins, or of holding connections open.
type Measurement struct {
	Mode        string     `json:"mode"` // "login", "hold" or "preauth"
	Started     time.Time  `json:"started"`
	Server      Server     `json:"server"`
	Concurrency int        `json:"concurrency"`
	Rate        float64    `json:"rate_per_s"` // that was asked for; 0 in a closed loop
	Seconds     float64    `json:"seconds"`    // from the first start to the last end
	Logins      int64      `json:"logins"`     // that succeeded, or connections that were opened
	Failed      int64      `json:"failed"`
	Dropped     int64      `json:"dropped"` // connections that the server closed while they were held
	PerSecond   float64    `json:"logins_per_s"`
	Queued      int64      `json:"queued"`    // logins of an open loop that had to wait for others to end
	Latency     []Latency  `json:"latency"`   // of successful logins
	Histogram   []Bin      `json:"histogram"` // of whole logins
	Timeline    []Interval `json:"timeline"`
	Failures    []Failure  `json:"failures"`    // the most frequent first
	Usage       *Usage     `json:"usage"`       // of the server; null without --pid
	UsageError  string     `json:"usage_error"` // why Usage is missing although --pid was given
	GaveUp      bool       `json:"gave_up"`     // the first logins all failed
	Interrupted bool       `json:"interrupted"` // by a signal
}

// Latency is the time that one phase took, or the whole login from its intended start.
type Latency struct {
	Phase string `json:"phase"`
	Percentiles
}

// Percentiles summarize a distribution of times, in milliseconds.
type Percentiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
	Mean  float64 `json:"mean_ms"`
}

// PercentilesOf summarizes a histogram of microseconds.
func PercentilesOf(h *hdrhistogram.Histogram) Percentiles {
	at := func(percent float64) float64 { return float64(h.ValueAtPercentile(percent)) / 1e3 }
	return Percentiles{h.TotalCount(), at(50), at(90), at(99), float64(h.Max()) / 1e3, h.Mean() / 1e3}
}

// Interval is a part of the time of a measurement. It counts the logins that ended in it.
type Interval struct {
	Start   float64 `json:"start_s"` // from the start of the measurement
	Width   float64 `json:"width_s"`
	Logins  int64   `json:"logins"`
	Failed  int64   `json:"failed"`
	Slowest float64 `json:"slowest_ms"` // of those that succeeded
}

// Failure counts the logins that failed for one reason.
type Failure struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// Usage is what the server's processes used. Memory is their proportional set size (PSS) in bytes.
type Usage struct {
	CPU          float64  `json:"cpu_s"`
	PerLogin     *float64 `json:"cpu_ms_per_login"` // null if no login succeeded
	MemoryBefore int64    `json:"memory_before_bytes"`
	MemoryAfter  int64    `json:"memory_after_bytes"` // after the last login, or with the connections that are held
	MemoryEach   *float64 `json:"memory_bytes_each"`  // for each held connection; null if the memory did not grow
}
