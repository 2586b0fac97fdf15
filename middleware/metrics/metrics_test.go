package metrics_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"foyer/middleware/eventlog/counters"
	"foyer/middleware/fairqueue"
	"foyer/middleware/metrics"
)

// full returns metrics of all parts of a server.
func full() *metrics.Metrics {
	m := metrics.New()
	m.Limits(func() map[counters.Reason]uint64 { return map[counters.Reason]uint64{counters.Busy: 3} })
	for _, queue := range []string{"key_exchange", "password_hash"} {
		m.Queue(queue, func() fairqueue.Stats {
			return fairqueue.Stats{Waiting: 2, Entered: 5, Waited: 1500 * time.Millisecond}
		})
	}
	m.Blocked(func() int { return 7 })
	m.LostLines(func() uint64 { return 8 })
	m.Errors(func() uint64 { return 9 })
	m.Maintenance(func() bool { return true })
	m.Reloads()(true)
	return m
}

func scrape(m *metrics.Metrics) string {
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	return answer.Body.String()
}

// Names, units and help texts are as Prometheus' conventions want them.
func TestLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(full()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		if strings.HasPrefix(problem.Metric, "foyer_") {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
}

func TestSources(t *testing.T) {
	text := scrape(full())
	for _, line := range []string{
		`foyer_limits_reached_total{reason="busy"} 3`,
		`foyer_limits_reached_total{reason="vanished"} 0`,
		`foyer_queue_waiting{queue="password_hash"} 2`,
		`foyer_queue_wait_seconds_sum{queue="key_exchange"} 1.5`,
		`foyer_queue_wait_seconds_count{queue="key_exchange"} 5`,
		`foyer_blocked_sources 7`,
		`foyer_log_lines_lost_total 8`,
		`foyer_log_errors_total 9`,
		`foyer_maintenance 1`,
		`foyer_reloads_total{result="used"} 1`,
		`foyer_reloads_total{result="refused"} 0`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	for _, name := range []string{"foyer_build_info{goversion=\"go1", "go_goroutines ", "process_start_time_seconds "} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
}

// Without metrics nothing is added, and a name that is used twice keeps its first metric.
func TestRegister(t *testing.T) {
	(*metrics.Metrics)(nil).LostLines(func() uint64 { return 1 })
	(*metrics.Metrics)(nil).Reloads()(false)
	(*metrics.Metrics)(nil).Register(prometheus.NewCounter(prometheus.CounterOpts{Name: "x"}))
	m := full()
	m.Blocked(func() int { return 9 })
	if text := scrape(m); !strings.Contains(text, "\nfoyer_blocked_sources 7\n") {
		t.Error("the second metric has replaced the first")
	}
}

// BenchmarkLogin is what is counted of one login with a password and one session.
func BenchmarkLogin(b *testing.B) {
	m, start := full(), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c := m.Connection(start)
		c.Reached(1)
		c.Reached(2)
		c.KeysExchanged("mlkem768x25519-sha256")
		m.Attempt("none", "asked")
		c.Reached(3)
		m.Attempt("password", "succeeded")
		m.Session()("shell", 0)
		c.Over(3000, 2000)
	}
}

func BenchmarkScrape(b *testing.B) {
	m := full()
	for b.Loop() {
		scrape(m)
	}
}
