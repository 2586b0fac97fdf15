package report

import (
	"fmt"
	"io"
	"runtime"
	"strings"
)

// Bench writes the measurement as one line in the format of Go benchmarks.
func (m *Measurement) Bench(w io.Writer) {
	if round, err := RoundOf(m); err == nil {
		round.bench(w, strings.ToUpper(m.Mode[:1])+m.Mode[1:])
	}
}

// Bench writes one line for each server and round, which benchstat takes as samples.
func (c *Compare) Bench(w io.Writer) { c.BenchAs(w, "Login") }

// BenchAs is Bench with another name for the benchmark. The name ends in server=NAME, so that "benchstat -col /server"
// compares the servers.
func (c *Compare) BenchAs(w io.Writer, name string) {
	for i := range c.Rounds {
		for _, s := range c.Servers {
			s.Rounds[i].bench(w, name+"/server="+strings.ReplaceAll(s.Name, " ", "_"))
		}
	}
}

// bench writes a line (https://go.dev/design/14313-benchmark-format). ns/op is the elapsed time divided by the number
// of logins, as in a parallel benchmark.
func (r Round) bench(w io.Writer, name string) {
	_, _ = fmt.Fprintf(w, "Benchmark%s-%d\t%8d\t%10.0f ns/op", name, runtime.GOMAXPROCS(0), r.Logins,
		r.Seconds*1e9/float64(r.Logins))
	if r.CPU != nil {
		_, _ = fmt.Fprintf(w, "\t%10.0f cpu-ns/op", *r.CPU*1e6)
	}
	_, _ = fmt.Fprintf(w, "\t%10.0f p50-ns\t%10.0f p99-ns\n", r.P50*1e6, r.P99*1e6)
}
