package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	gossh "golang.org/x/crypto/ssh"

	"foyer/cmd/cli"
	"foyer/cmd/knock/report"
)

// timeout is longer than anything takes on a busy machine.
const timeout = 30 * time.Second

func TestMain(m *testing.M) {
	testscript.Main(leakChecker{m}, map[string]func(){"knock": main})
}

// leakChecker fails if the tests leave a goroutine behind.
type leakChecker struct{ *testing.M }

func (m leakChecker) Run() int {
	status := m.M.Run()
	if err := goleak.Find(); err != nil && status == 0 {
		_, _ = os.Stderr.WriteString(err.Error())
		return 1
	}
	return status
}

// outcome is the output and the exit status of a command line.
type outcome struct {
	stdout, stderr string
	status         int
}

// knock runs a command line in this process.
func knock(t *testing.T, args ...string) outcome {
	t.Helper()
	return knockContext(t.Context(), args...)
}

func knockContext(ctx context.Context, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	status := cli.Run(ctx, root)
	return outcome{stdout.String(), stderr.String(), status}
}

// check fails the test unless the status is as wanted and the output contains all parts.
func (o outcome) check(t *testing.T, status int, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(o.stdout+o.stderr, part) {
			t.Errorf("the output does not contain %q", part)
		}
	}
	if o.status != status {
		t.Errorf("exit status %d, want %d", o.status, status)
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", o.stdout, o.stderr)
	}
}

// knockJSON runs a command line with --json.
func knockJSON(t *testing.T, status int, args ...string) (m report.Measurement) {
	t.Helper()
	got := knock(t, append(args, "--json")...)
	got.check(t, status)
	if err := json.Unmarshal([]byte(got.stdout), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// write makes a file.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually waits until a condition holds.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition never held")
		}
	}
}

// idleProcess starts a process that does nothing, and returns its ID. A busy one would take knock longer to measure.
func idleProcess(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	start(t, cmd)
	return strconv.Itoa(cmd.Process.Pid)
}

// keyFile makes a key, and returns its path and the public key.
func keyFile(t *testing.T) (string, gossh.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "id_ed25519", string(pem.EncodeToMemory(block))), key
}

func TestUsageErrors(t *testing.T) {
	t.Setenv(passwordVariable, "")
	missing := filepath.Join(t.TempDir(), "missing")
	f := new(fake).open(t)
	for _, tt := range []struct {
		name, args    string
		problem, hint string
	}{
		{"no target", "", "knock takes USER@HOST:PORT, but got 0 arguments", "knock --help"},
		{"two targets", "a@localhost b@localhost", "got 2 arguments", "knock --help"},
		{"no user", "localhost:22", `target "localhost:22" is not USER@HOST:PORT`, "guest@localhost:2022"},
		{"unknown flag", "--what a@localhost", "unknown flag: --what", "knock --help"},
		{"password on the command line", "--password x a@localhost", "unknown flag: --password", "knock --help"},
		{"not loopback", "guest@192.0.2.1", "not a loopback address", "--i-own-this-host"},
		{"hold, not loopback", "hold 5 guest@192.0.2.1", "not a loopback address", "--i-own-this-host"},
		{"preauth, not loopback", "preauth 5 guest@192.0.2.1", "not a loopback address", "--i-own-this-host"},
		{"compare, not loopback", "compare a=FAKE b=g@192.0.2.1 --open", "server b: ", "--i-own-this-host"},
		{"all addresses", "guest@0.0.0.0:22", "not a loopback address", "--i-own-this-host"},
		{"no credentials", "FAKE", "no key and no password", "KNOCK_PASSWORD"},
		{"missing key", "FAKE --key " + missing, "read the key: open", "knock --help"},
		{"public key", "FAKE --key " + write(t, "id.pub", "ssh-ed25519 AAAA"), "read the key", "private key"},
		{"missing password", "FAKE --password-file " + missing, "read the password", "knock --help"},
		{"empty password", "FAKE --password-file " + write(t, "empty", "\n"), "is empty", "knock --help"},
		{"missing output", "FAKE --open --expect " + missing, "read the expected output", "knock --help"},
		{"no such process", "FAKE --open --pid 999999999", "there is no process 999999999", "knock --help"},
		{"negative rate", "FAKE --open --rate -1", "rate -1", "positive"},
		{"rate NaN", "FAKE --open --rate nan", "rate NaN", "positive"},
		{"negative count", "FAKE --open -n -1", "count -1", "positive"},
		{"no concurrency", "FAKE --open -c 0", "concurrency 0", "positive"},
		{"no timeout", "FAKE --open --timeout 0", "timeout 0s", "positive"},
		{"hold many", "hold many FAKE", `"many" connections`, "knock hold 1000"},
		{"hold none", "hold 0 FAKE", `"0" connections`, "knock hold 1000"},
		{"no rounds", "compare a=FAKE b=FAKE --rounds 0", "0 rounds", "positive"},
		{"one server", "compare a=FAKE", "takes SERVER SERVER [SERVER...], but got 1", "knock compare --help"},
		{"no name", "compare FAKE b=FAKE", "has no name", "NAME=USER@HOST:PORT"},
		{"same name", "compare a=FAKE a=FAKE --open", "two servers have the name a", "different names"},
		{"unknown setting", "compare a=FAKE,color=red b=FAKE", `server a: unknown setting "color"`, "NAME="},
		{"no value", "compare a=FAKE,pid b=FAKE", `"pid" is not name=value`, "NAME="},
		{"invalid value", "compare a=FAKE,pid=x b=FAKE", `server a: pid: "x"`, "NAME="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := knock(t, strings.Fields(strings.ReplaceAll(tt.args, "FAKE", f.target()))...)
			got.check(t, 2, "error: ", tt.problem)
			if _, hint, _ := strings.Cut(got.stderr, "hint: "); got.stdout != "" || !strings.Contains(hint, tt.hint) {
				t.Errorf("no hint with %q in %q", tt.hint, got.stderr)
			}
		})
	}
}

func TestTable(t *testing.T) {
	f := new(fake).open(t)
	got := knock(t, f.target(), "--open", "-n", "20", "--expect", write(t, "expected", message))
	got.check(t, 0, "target   "+f.target(), "SSH-2.0-fake", "20 logins in ", "; 0 failed\n", "p99", "whole login", "█")
	if accepted, _ := f.counts(); accepted != 21 { // one to find the address
		t.Errorf("%d connections", accepted)
	}
}

// Whatever the form, a report that cannot be written is an error.
func TestReportNotWritten(t *testing.T) {
	f := new(fake).open(t)
	for _, args := range [][]string{
		{f.target(), "--open", "-n", "1"},
		{f.target(), "--open", "-n", "1", "--json"},
		{"compare", "a=" + f.target(), "b=" + f.target(), "--open", "--rounds", "1", "--window", "50ms"},
	} {
		var stderr bytes.Buffer
		reader, writer := io.Pipe()
		_ = reader.CloseWithError(syscall.ENOSPC)
		root := newRoot()
		root.SetArgs(args)
		root.SetOut(writer)
		root.SetErr(&stderr)
		status := cli.Run(t.Context(), root)
		outcome{"", stderr.String(), status}.check(t, 1, "error: write the report: no space left on device")
	}
}

// Other programs use the names of the JSON fields. With KNOCK_UPDATE=1 the test writes the files.
func TestJSONNames(t *testing.T) {
	f := new(fake).open(t)
	pid := strconv.Itoa(os.Getpid()) // it has CPU time, so no figure is null
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"login", []string{f.target(), "--open", "-n", "20", "--pid", pid}},
		{"preauth", []string{"preauth", "5", f.target(), "--for", "0s", "--pid", pid}},
		{"compare", []string{"compare", "--rounds", "1", "--window", "50ms", "a=" + f.target() + ",open=true,pid=" + pid,
			"b=" + f.target() + ",open=true"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := knock(t, append(tt.args, "--json")...)
			got.check(t, 0)
			var document any
			if err := json.Unmarshal([]byte(got.stdout), &document); err != nil {
				t.Fatal(err)
			}
			names := strings.Join(fieldNames("", document), "\n") + "\n"
			golden := filepath.Join("testdata", "json", tt.name+".txt")
			if os.Getenv("KNOCK_UPDATE") == "1" {
				if err := os.WriteFile(golden, []byte(names), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(golden); err != nil || string(want) != names {
				t.Errorf("%v; the names are\n%s", err, names)
			}
		})
	}
}

// fieldNames returns the paths of all fields in order; a list stands for its first element.
func fieldNames(path string, value any) (names []string) {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			names = append(names, fieldNames(strings.TrimPrefix(path+"."+name, "."), inner)...)
		}
		slices.Sort(names)
		return names
	case []any:
		if len(value) > 0 {
			return fieldNames(path+"[]", value[0])
		}
	}
	return []string{path}
}

func TestBenchLines(t *testing.T) {
	f := new(fake).open(t)
	got := knock(t, f.target(), "--open", "-n", "20", "--bench", "--pid", idleProcess(t))
	got.check(t, 0, " ns/op\t", " cpu-ns/op\t", " p50-ns\t")
	if !strings.HasPrefix(got.stdout, "BenchmarkLogin-") || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("%q", got.stdout)
	}
	got = knock(t, "compare", "a="+f.target(), "b="+f.target(), "--open", "--rounds", "2", "--window", "50ms", "--bench")
	got.check(t, 0)
	for _, name := range []string{"a", "b"} {
		if n := strings.Count(got.stdout, "BenchmarkLogin/server="+name+"-"); n != 2 {
			t.Errorf("%d lines of server %s in\n%s", n, name, got.stdout)
		}
	}
}

// One failed login is enough for exit status 1, and the report has its reason.
func TestSomeFail(t *testing.T) {
	var sessions atomic.Int64
	f := (&fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
		answer(channel, requests, message, uint32(sessions.Add(1)%10/9)) // every tenth fails
	}}).open(t)
	got := knock(t, f.target(), "--open", "-n", "20", "-c", "2")
	got.check(t, 1, "18 logins in", "; 2 failed", " 2 failed: ", "status 1", "error: not every login succeeded")
}

// Wrong credentials end a measurement after a few attempts.
func TestGiveUp(t *testing.T) {
	f := (&fake{password: "secret"}).open(t)
	for _, args := range [][]string{{"-d", "1h"}, {"-d", "1h", "--rate", "500", "-c", "4"}, {"hold", "1000"}} {
		got := knock(t, append(args, f.target(), "--open")...)
		got.check(t, 1, "\n0 ", "unable to authenticate", "note: stopped early")
	}
	if accepted, _ := f.counts(); accepted > 3*(hopeless+8+1) {
		t.Errorf("%d attempts", accepted)
	}
}

// Ctrl-C ends a measurement, and the report is about what was measured until then.
func TestInterrupt(t *testing.T) {
	var accepted atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := (&fake{accept: func(conn net.Conn) bool {
		if accepted.Add(1) < 30 {
			return true
		}
		cancel()
		return sendNothing(conn)
	}}).open(t)
	knockContext(ctx, f.target(), "--open", "-d", "1h").check(t, 0, " logins in ", "note: interrupted", "; 0 failed")
}
