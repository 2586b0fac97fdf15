package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/fairqueue"
)

// What other parts of the server count is read at each scrape. Each of these functions adds such a part, once; with nil
// metrics it does nothing.

// Limits adds how often each limit was reached.
func (m *Metrics) Limits(counts func() map[counters.Reason]uint64) {
	desc := prometheus.NewDesc("foyer_limits_reached_total", "What a limit has closed, refused or left out.", []string{"reason"}, nil)
	m.Register(collector{desc, func(ch chan<- prometheus.Metric) {
		now := counts()
		for _, reason := range counters.Reasons {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(now[reason]), string(reason))
		}
	}})
}

// Queue adds a queue, such as that for password hashes.
func (m *Metrics) Queue(name string, stats func() fairqueue.Stats) {
	labels := prometheus.Labels{"queue": name}
	waiting := prometheus.NewDesc("foyer_queue_waiting", "Clients that wait in a queue now.", nil, labels)
	wait := prometheus.NewDesc("foyer_queue_wait_seconds", "How long clients wait in a queue.", nil, labels)
	m.Register(collector{waiting, func(ch chan<- prometheus.Metric) {
		ch <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, float64(stats().Waiting))
	}}, collector{wait, func(ch chan<- prometheus.Metric) {
		now := stats()
		ch <- prometheus.MustNewConstSummary(wait, now.Entered, now.Waited.Seconds(), nil)
	}})
}

// Blocked adds how many sources are blocked.
func (m *Metrics) Blocked(sources func() int) {
	m.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "foyer_blocked_sources", Help: "Sources that penalties block now.",
	}, func() float64 { return float64(sources()) }))
}

// Maintenance adds whether the server is under maintenance.
func (m *Metrics) Maintenance(on func() bool) {
	m.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "foyer_maintenance", Help: "1 while the server is under maintenance, otherwise 0.",
	}, func() float64 {
		if on() {
			return 1
		}
		return 0
	}))
}

// LostLines adds how many lines of the log were lost because nobody read it.
func (m *Metrics) LostLines(lines func() uint64) {
	m.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "foyer_log_lines_lost_total", Help: "Log lines that were lost because the log was not read.",
	}, func() float64 { return float64(lines()) }))
}

// collector is a [prometheus.Collector] of one metric.
type collector struct {
	desc    *prometheus.Desc
	collect func(chan<- prometheus.Metric)
}

func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }
func (c collector) Collect(ch chan<- prometheus.Metric) { c.collect(ch) }

// Reloads returns the function that counts that the settings were read again, and whether they are used.
func (m *Metrics) Reloads() (count func(used bool)) {
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "foyer_reloads_total", Help: "How often the settings were read again.",
	}, []string{"result"})
	used, refused := reloads.WithLabelValues("used"), reloads.WithLabelValues("refused")
	m.Register(reloads)
	return func(ok bool) {
		if ok {
			used.Inc()
		} else {
			refused.Inc()
		}
	}
}

// Errors adds the number of log lines of level error, each of which is something that the operator must act on, such as a
// file that is invalid.
func (m *Metrics) Errors(read func() uint64) {
	m.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "foyer_log_errors_total", Help: "Log lines of level error, such as a file that is invalid.",
	}, func() float64 { return float64(read()) }))
}
