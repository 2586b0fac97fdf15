//go:build !windows

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/sshtest"
)

const prometheusConfig = `
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs: [{job_name: foyer, static_configs: [{targets: ["%s"]}]}]
`

// prometheus is a Prometheus that scrapes a server each second.
type prometheus struct{ address string }

func startPrometheus(t *testing.T, target string) prometheus {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	sshtest.Need(t, "prometheus", "apt-get install prometheus", err == nil)
	dir, log := t.TempDir(), sshtest.NewLog()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, prometheusConfig, target), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", log)
		}
	})
	line := log.Line(t, `msg="Listening on"`)
	return prometheus{regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(line)[1]}
}

// value returns the value of an expression with one series, or -1 if there is none yet.
func (p prometheus) value(expression string) float64 {
	answer, err := http.Get("http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return -1
	}
	defer func() { _ = answer.Body.Close() }()
	var result struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(answer.Body).Decode(&result); err != nil || len(result.Data.Result) != 1 {
		return -1
	}
	text, _ := result.Data.Result[0].Value[1].(string)
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return -1
	}
	return value
}

// await waits until an expression has a value.
func (p prometheus) await(t *testing.T, expression string, want float64) {
	t.Helper()
	if !sshtest.Within(sshtest.Patience, func() bool { return p.value(expression) == want }) {
		t.Errorf("%s is %v, want %v", expression, p.value(expression), want)
	}
}

var httpLine = regexp.MustCompile(`msg="http listening" addr=(\S+)`)

// What a real Prometheus has scraped while knock ran agrees with what knock has counted itself.
func TestPrometheus(t *testing.T) {
	srv := startServer(t, "--http", ":0", "--log-format", "logfmt", "--penalty-exempt", "127.0.0.0/8")
	p := startPrometheus(t, httpLine.FindStringSubmatch(srv.log(t))[1])
	p.await(t, "up", 1)

	cmd := exec.Command(buildKnock(t), "guest@127.0.0.1:"+srv.port, "--json", "-d", "3s")
	cmd.Env = append(os.Environ(), "KNOCK_PASSWORD="+srv.password)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("knock: %v\n%s", err, out)
	}
	var counted struct{ Logins, Failed float64 }
	if err := json.Unmarshal(out, &counted); err != nil || counted.Logins == 0 {
		t.Fatalf("knock reports %s, error %v", out, err)
	}
	if counted.Failed != 0 {
		t.Fatalf("%v logins failed", counted.Failed)
	}
	// A wrong password is one more attempt, and no session.
	_ = loginFrom(t, "127.0.0.1", "127.0.0.1:"+srv.port, "guest", gossh.Password("wrong"))
	p.await(t, `foyer_sessions_total{request="shell",exit="zero"}`, counted.Logins)
	p.await(t, `sum(foyer_sessions_total)`, counted.Logins)
	p.await(t, `foyer_authentication_attempts_total{method="password",outcome="succeeded"}`, counted.Logins)
	p.await(t, `foyer_authentication_attempts_total{method="password",outcome="failed"}`, 1)
	p.await(t, `foyer_connections_total{stage="authenticated"}`, counted.Logins)
	p.await(t, `foyer_connections_total{stage="speaking"}`, counted.Logins+1)
	p.await(t, `sum(foyer_key_exchanges_total)`, counted.Logins+1)
	p.await(t, `foyer_session_duration_seconds_count{request="shell"}`, counted.Logins)
	p.await(t, `foyer_handshake_duration_seconds_count{stage="authenticated"}`, counted.Logins)
	p.await(t, `sum(foyer_connections_open)`, 0)
	if hashes := p.value(`foyer_queue_wait_seconds_count{queue="password_hash"}`); hashes < 1 {
		t.Errorf("%v password hashes", hashes)
	}
}

// Reloads, and what the operator must act on, are counted.
func TestReloadsAreCounted(t *testing.T) {
	srv := startWithFile(t, map[string]string{"foyer.toml": "[metrics]\nhttp = \"127.0.0.1:0\"\n"})
	scraped := func(lines ...string) func() bool {
		return func() bool {
			text := srv.httpGet(t, "/metrics")
			return !slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(text, "\n"+line+"\n") })
		}
	}
	srv.replaceFile(t, "foyer.toml", "[metrics]\nhttp = \"127.0.0.1:0\"\n[limits]\nmax-sessions = 5\n")
	sshtest.Eventually(t, "the reload is not counted", scraped(`foyer_reloads_total{result="used"} 1`, "foyer_log_errors_total 0"))
	srv.replaceFile(t, "foyer.toml", "pty = 5\n")
	sshtest.Eventually(t, "the refused reload is not counted", scraped(`foyer_reloads_total{result="refused"} 1`, "foyer_log_errors_total 1"))
}

// Maintenance is a metric, and a balancer hears of it if it should.
func TestMaintenanceIsSeen(t *testing.T) {
	srv := startWithFile(t, map[string]string{"foyer.toml": "maintenance-unready = true\n[metrics]\nhttp = \"127.0.0.1:0\"\n"})
	for _, step := range []struct{ switched, ready, gauge string }{{"on", "not ready: the server is under maintenance", "1"}, {"off", "ready", "0"}} {
		cmd := exec.Command(os.Args[0], "maintenance", step.switched)
		cmd.Args[0], cmd.Dir = "foyer", srv.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		sshtest.Eventually(t, "/readyz is not "+step.ready, func() bool { return srv.httpGet(t, "/readyz?verbose") == step.ready+"\n" })
		if text := srv.httpGet(t, "/metrics"); !strings.Contains(text, "\nfoyer_maintenance "+step.gauge+"\n") {
			t.Errorf("maintenance %s is no metric", step.switched)
		}
	}
}

// httpGet returns what the server answers at its HTTP address.
func (p *process) httpGet(t *testing.T, path string) string {
	t.Helper()
	answer, err := http.Get("http://" + httpLine.FindStringSubmatch(p.log(t))[1] + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
