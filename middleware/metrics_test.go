package middleware_test

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware"
	"foyer/middleware/metrics"
	"foyer/middleware/sshtest"
)

// scrape returns what Prometheus reads.
func scrape(m *metrics.Metrics) string {
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	return answer.Body.String()
}

// awaitSeries waits until a scrape has each of these lines.
func awaitSeries(t *testing.T, m *metrics.Metrics, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !sshtest.Within(sshtest.Patience, func() bool { return strings.Contains(scrape(m), "\n"+line+"\n") }) {
			name, _, _ := strings.Cut(line, "{")
			t.Errorf("no line %q; there are:", line)
			for got := range strings.Lines(scrape(m)) {
				if strings.HasPrefix(got, name) {
					t.Log(got)
				}
			}
		}
	}
}

func serveMetrics(t *testing.T) (*metrics.Metrics, *sshtest.Server) {
	m := metrics.New()
	right := passwordLayer(func(_, password string) bool { return password == "right" })
	return m, sshtest.Serve(t, middleware.Recover(), middleware.Metrics(m), right, middleware.Handler("test", func(sess ssh.Session) {
		_, _ = io.WriteString(sess, "hello")
		switch sess.RawCommand() {
		case "panic":
			panic("on purpose")
		case "fail":
			_ = sess.Exit(3)
		}
	}))
}

// What visitors do is counted by stage, method, outcome, request and exit status.
func TestMetrics(t *testing.T) {
	captureLibraryLog(t)
	m, srv := serveMetrics(t)
	client, err := srv.Dial("guest", "right")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"", "fail", "panic", ""} {
		sshtest.Run(t, client, sshtest.Visit{Command: command})
	}
	awaitSeries(t, m, `foyer_connections_open{stage="authenticated"} 1`)
	_ = client.Close()
	if _, err := srv.Dial("guest", "wrong"); err == nil {
		t.Fatal("a wrong password is accepted")
	}
	silent := srv.DialTCP(t)
	awaitSeries(t, m,
		`foyer_connections_open{stage="authenticated"} 0`,
		`foyer_connections_open{stage="connected"} 1`,
		`foyer_connections_total{stage="connected"} 3`,
		`foyer_connections_total{stage="speaking"} 2`,
		`foyer_connections_total{stage="keys_exchanged"} 2`,
		`foyer_connections_total{stage="authenticated"} 1`,
		`foyer_authentication_attempts_total{method="password",outcome="succeeded"} 1`,
		`foyer_authentication_attempts_total{method="password",outcome="failed"} 1`,
		`foyer_authentication_attempts_total{method="none",outcome="asked"} 2`,
		`foyer_authentication_attempts_total{method="publickey",outcome="key_refused"} 0`,
		`foyer_sessions_open 0`,
		`foyer_sessions_total{exit="zero",request="shell"} 2`,
		`foyer_sessions_total{exit="nonzero",request="exec"} 2`,
		`foyer_session_duration_seconds_count{request="exec"} 2`,
		`foyer_handshake_duration_seconds_count{stage="keys_exchanged"} 2`,
		`foyer_handshake_duration_seconds_count{stage="authenticated"} 1`,
	)
	sshtest.HalfClose(silent)
	awaitSeries(t, m, `foyer_connections_open{stage="connected"} 0`)
}

// The bytes of a connection are counted when it is over.
func TestMetricsBytes(t *testing.T) {
	m, srv := serveMetrics(t)
	srv.Visit(t, sshtest.Visit{Password: "right"})
	awaitSeries(t, m, `foyer_connections_open{stage="authenticated"} 0`)
	for line := range strings.Lines(scrape(m)) {
		if strings.HasPrefix(line, "foyer_received_bytes_total 0") || strings.HasPrefix(line, "foyer_sent_bytes_total 0") {
			t.Errorf("no bytes are counted: %s", line)
		}
	}
}

// A key exchange counts by its algorithm, also when it is repeated.
func TestMetricsKeyExchanges(t *testing.T) {
	m, srv := serveMetrics(t)
	client := srv.DialRaw(t)
	awaitSeries(t, m, `foyer_key_exchanges_total{algorithm="curve25519-sha256"} 1`)
	if in, err := client.Password("guest", "right"); !in || err != nil {
		t.Fatalf("authenticated: %t, error: %v", in, err)
	}
	if err := client.Keys(sshtest.Curve25519); err != nil {
		t.Fatal(err)
	}
	awaitSeries(t, m, `foyer_key_exchanges_total{algorithm="curve25519-sha256"} 2`, `foyer_key_exchanges_total{algorithm="other"} 0`)
}

// Whatever visitors invent, the number of series stays, and nothing names them.
func TestMetricsHaveFixedLabels(t *testing.T) {
	m, srv := serveMetrics(t)
	before := series(m)
	client := srv.DialRaw(t)
	for _, method := range []string{"gssapi-with-mic", "hostbased", "invented\n", strings.Repeat("x", 1000)} {
		if in, err := client.Attempt("visitor-4711", "ssh-connection", method, sshtest.Fields("")); in || err != nil {
			t.Fatalf("method %.20q: authenticated: %t, error: %v", method, in, err)
		}
	}
	loggedIn, err := gossh.Dial("tcp", srv.Address, &gossh.ClientConfig{
		User: "visitor-4711", Auth: []gossh.AuthMethod{gossh.Password("right")}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = loggedIn.Close() }()
	sshtest.Run(t, loggedIn, sshtest.Visit{Subsystem: "visitor-4711"})
	awaitSeries(t, m, `foyer_authentication_attempts_total{method="other",outcome="failed"} 4`)
	if got := series(m); got != before {
		t.Errorf("%d series became %d", before, got)
	}
	for _, trace := range []string{"4711", "127.0.0.1", "invented", "gssapi"} {
		if strings.Contains(scrape(m), trace) {
			t.Errorf("the metrics have %q", trace)
		}
	}
}

// series returns how many series of foyer's there are.
func series(m *metrics.Metrics) int { return strings.Count("\n"+scrape(m), "\nfoyer_") }

func TestMetricsMissing(t *testing.T) {
	if middleware.Metrics(nil).Server(nil) == nil {
		t.Error("a layer without metrics is accepted")
	}
}
