package report

import (
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// Table writes the report for people. Charts are drawn for a terminal of width columns.
func (m *Measurement) Table(w io.Writer, width int) {
	_, _ = fmt.Fprintf(w, "target   %s at %s\n", m.Server.Target, m.Server.Address)
	if m.Server.Version != "" {
		_, _ = fmt.Fprintf(w, "server   %s\n         %s, %s, %s\n",
			m.Server.Version, m.Server.Kex, m.Server.HostKey, m.Server.Cipher)
	}
	if m.Mode != "login" {
		_, _ = fmt.Fprintf(w, "\n%s opened in %.1f s, %s failed; %s dropped by the server\n\n",
			Plural(m.Logins, "connection"), m.Seconds, Count(m.Failed), Count(m.Dropped))
		latencies(w, m.Latency)
	} else {
		asked := Count(int64(m.Concurrency)) + " at a time"
		if m.Rate > 0 {
			asked = "asked for " + significant(m.Rate)
		}
		_, _ = fmt.Fprintf(w, "\n%s in %.1f s, %s a second, %s; %s failed\n\n", Plural(m.Logins, "login"), m.Seconds,
			significant(m.PerSecond), asked, Count(m.Failed))
		latencies(w, m.Latency)
		histogram(w, m.Histogram, width-40)
		timeline(w, m.Timeline)
	}
	failures(w, m.Failures)
	m.Usage.table(w)
	m.notes(w)
}

func latencies(w io.Writer, list []Latency) {
	const format = "%-16s%10s%10s%10s%10s\n"
	if len(list) > 0 {
		_, _ = fmt.Fprintf(w, format, "", "p50", "p90", "p99", "max")
	}
	for _, l := range list {
		_, _ = fmt.Fprintf(w, format, l.Phase, Milliseconds(l.P50), Milliseconds(l.P90), Milliseconds(l.P99),
			Milliseconds(l.Max))
	}
	_, _ = fmt.Fprintln(w)
}

func failures(w io.Writer, list []Failure) {
	for _, f := range list {
		_, _ = fmt.Fprintf(w, "%8s failed: %s\n", Count(f.Count), f.Reason)
	}
	if len(list) > 0 {
		_, _ = fmt.Fprintln(w)
	}
}

func (u *Usage) table(w io.Writer) {
	if u == nil {
		return
	}
	if u.PerLogin != nil {
		_, _ = fmt.Fprintf(w, "server CPU       %s each\n", Milliseconds(*u.PerLogin))
	}
	_, _ = fmt.Fprintf(w, "server memory    %s before, %s after",
		Bytes(float64(u.MemoryBefore)), Bytes(float64(u.MemoryAfter)))
	if u.MemoryEach != nil {
		_, _ = fmt.Fprintf(w, ", %s each", Bytes(*u.MemoryEach))
	}
	_, _ = fmt.Fprintln(w)
}

// notes explain what could make a reader misunderstand the figures.
func (m *Measurement) notes(w io.Writer) {
	if m.GaveUp {
		_, _ = fmt.Fprintln(w, "note: stopped early, because the first attempts all failed")
	}
	if m.Interrupted {
		_, _ = fmt.Fprintln(w, interrupted)
	}
	if m.UsageError != "" {
		_, _ = fmt.Fprintf(w, "note: CPU and memory of the server are missing: %s\n", m.UsageError)
	}
	if m.Queued > 0 {
		_, _ = fmt.Fprintf(w, "note: %s had to wait: the server is slower than the rate, or --concurrency is too low\n",
			Plural(m.Queued, "login"))
	}
}

const interrupted = "note: interrupted; what was not complete is not counted"

// Table writes the report for people.
func (c *Compare) Table(w io.Writer, _ int) {
	_, _ = fmt.Fprintf(w, "%s of %s for each server, %d logins at a time\n", Plural(int64(c.Rounds), "round"),
		time.Duration(c.Window*float64(time.Second)), c.Concurrency)
	_, _ = fmt.Fprintf(w, "medians of the rounds; ratios to %s with their quartiles\n\n", c.Servers[0].Name)
	longest := len("server")
	for _, s := range c.Servers {
		longest = max(longest, utf8.RuneCountInString(s.Name))
	}
	format := fmt.Sprintf("%%-%ds  %%9s  %%-17s  %%8s  %%-17s  %%8s\n", longest)
	_, _ = fmt.Fprintf(w, format, "server", "CPU/login", "ratio", "logins/s", "ratio", "p99")
	for _, s := range c.Servers {
		_, _ = fmt.Fprintf(w, format, s.Name, s.CPU.median(Milliseconds), s.CPURatio, s.Throughput.median(significant),
			s.ThroughputRatio, s.P99.median(Milliseconds))
	}
	for _, s := range c.Servers {
		if s.Failed > 0 {
			_, _ = fmt.Fprintf(w, "\n%s: %s failed\n", s.Name, Plural(s.Failed, "login"))
			failures(w, s.Failures)
		}
	}
	if c.Interrupted {
		_, _ = fmt.Fprintln(w, interrupted)
	}
}

func (q *Quartiles) median(write func(float64) string) string {
	if q == nil {
		return "-"
	}
	return write(q.Median)
}

// String writes ratios, as the median and the quartiles.
func (q *Quartiles) String() string {
	if q == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s-%s)", significant(q.Median), significant(q.Q1), significant(q.Q3))
}
