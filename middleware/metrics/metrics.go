// Package metrics counts what happens on a server, for Prometheus.
//
// Every label has a fixed set of values, so a visitor cannot make the server keep more series. No label has an address or the
// name of a user.
package metrics

import (
	"cmp"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	gossh "golang.org/x/crypto/ssh"
)

// The values of labels. Anything else is "other".
var (
	Stages   = []string{"connected", "speaking", "keys_exchanged", "authenticated"}
	Methods  = []string{"none", "password", "publickey", "keyboard-interactive", other}
	Outcomes = []string{"succeeded", "continues", "asked", "key_refused", "not_checked", "failed"}
	Requests = []string{"shell", "exec", "subsystem"}
)

const other = "other"

// The limits of a scrape. A server has a few hundred series, which take a few milliseconds.
const (
	maxScrape  = 5 * time.Second
	maxScrapes = 4 // at once
)

// seconds are the buckets of durations: from a key exchange on the same host to the longest time that a person has to log in,
// and the longest session.
var seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 600}

// Metrics are the metrics of one server.
type Metrics struct {
	registry     *prometheus.Registry
	algorithms   []string // of key exchanges
	open         *prometheus.GaugeVec
	reached      *prometheus.CounterVec
	handshakes   *prometheus.HistogramVec
	attempts     *prometheus.CounterVec
	exchanges    *prometheus.CounterVec
	openSessions prometheus.Gauge
	sessions     *prometheus.CounterVec
	lasted       *prometheus.HistogramVec
	received     prometheus.Counter
	sent         prometheus.Counter
}

// New returns metrics that are 0, besides those of the Go runtime, of the process, and of the build.
func New() *Metrics {
	gauge := func(name, help string) prometheus.GaugeOpts { return prometheus.GaugeOpts{Name: name, Help: help} }
	counter := func(name, help string) prometheus.CounterOpts { return prometheus.CounterOpts{Name: name, Help: help} }
	histogram := func(name, help string) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds}
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(), algorithms: keyExchanges(),
		open:    prometheus.NewGaugeVec(gauge("foyer_connections_open", "Connections now, by the stage that they have reached."), []string{"stage"}),
		reached: prometheus.NewCounterVec(counter("foyer_connections_total", "Connections that have reached a stage."), []string{"stage"}),
		handshakes: prometheus.NewHistogramVec(histogram("foyer_handshake_duration_seconds",
			"Time from when a connection is accepted until it reaches a stage."), []string{"stage"}),
		attempts:     prometheus.NewCounterVec(counter("foyer_authentication_attempts_total", "Attempts to authenticate."), []string{"method", "outcome"}),
		exchanges:    prometheus.NewCounterVec(counter("foyer_key_exchanges_total", "Key exchanges, those that were repeated included."), []string{"algorithm"}),
		openSessions: prometheus.NewGauge(gauge("foyer_sessions_open", "Sessions now.")),
		sessions:     prometheus.NewCounterVec(counter("foyer_sessions_total", "Sessions that are over, by request and exit status."), []string{"request", "exit"}),
		lasted:       prometheus.NewHistogramVec(histogram("foyer_session_duration_seconds", "How long sessions lasted."), []string{"request"}),
		received:     prometheus.NewCounter(counter("foyer_received_bytes_total", "Bytes received on connections that are over.")),
		sent:         prometheus.NewCounter(counter("foyer_sent_bytes_total", "Bytes sent on connections that are over.")),
	}
	m.initialize()
	m.Register(m.open, m.reached, m.handshakes, m.attempts, m.exchanges, m.openSessions, m.sessions, m.lasted, m.received, m.sent,
		buildInfo(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// initialize makes every series, so that a rate does not miss the first event.
func (m *Metrics) initialize() {
	for _, stage := range Stages {
		m.open.WithLabelValues(stage)
		m.reached.WithLabelValues(stage)
	}
	for _, stage := range Stages[2:] {
		m.handshakes.WithLabelValues(stage)
	}
	for _, method := range Methods {
		for _, outcome := range Outcomes {
			m.attempts.WithLabelValues(method, outcome)
		}
	}
	for _, request := range Requests {
		m.sessions.WithLabelValues(request, "zero")
		m.sessions.WithLabelValues(request, "nonzero")
		m.lasted.WithLabelValues(request)
	}
	for _, algorithm := range m.algorithms {
		m.exchanges.WithLabelValues(algorithm)
	}
}

// keyExchanges are all algorithms that the library knows.
func keyExchanges() []string {
	return slices.Concat(gossh.SupportedAlgorithms().KeyExchanges, gossh.InsecureAlgorithms().KeyExchanges, []string{other})
}

// buildInfo is 1, and says in its labels what runs.
func buildInfo() prometheus.Collector {
	labels := prometheus.Labels{"version": "unknown", "revision": "unknown", "goversion": "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		labels["version"], labels["goversion"] = cmp.Or(info.Main.Version, "unknown"), info.GoVersion
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				labels["revision"] = setting.Value
			}
		}
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "foyer_build_info", Help: "What runs; always 1.", ConstLabels: labels,
	}, func() float64 { return 1 })
}

// Register adds metrics. Where a name is used twice, the first one stays.
func (m *Metrics) Register(more ...prometheus.Collector) {
	for _, c := range more {
		if m != nil {
			_ = m.registry.Register(c)
		}
	}
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, Timeout: maxScrape})
}

// Attempt counts an attempt to authenticate.
func (m *Metrics) Attempt(method, outcome string) {
	m.attempts.WithLabelValues(known(method, Methods), outcome).Inc()
}

// Session counts a session, which is over when the function is called.
func (m *Metrics) Session() (over func(request string, status int)) {
	opened := time.Now()
	m.openSessions.Inc()
	return func(request string, status int) {
		exit := "zero"
		if status != 0 {
			exit = "nonzero"
		}
		m.openSessions.Dec()
		m.sessions.WithLabelValues(known(request, Requests), exit).Inc()
		m.lasted.WithLabelValues(known(request, Requests)).Observe(time.Since(opened).Seconds())
	}
}

// known returns a label's value, or "other" for one that is not in the list.
func known(value string, list []string) string {
	if slices.Contains(list, value) {
		return value
	}
	return other
}
