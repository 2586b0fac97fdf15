//go:build !windows

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain can run the program in a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	if method := os.Getenv(asFloor); method != "" {
		serveFloor(method)
	}
	os.Exit(m.Run())
}

const asProgram = "BENCH_TEST_MAIN"

// The bench removes everything even if its output cannot be written.
func TestBrokenPipe(t *testing.T) {
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--quick", "--rounds", "1", "--only", "bare,erlang")
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+temp, "PATH=/usr/bin:/bin:"+filepath.Dir(goTool(t)))
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	cmd.Stdout, cmd.Stderr = writer, writer
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	_ = writer.Close()
	checkNothingLeft(t, temp)
}

func goTool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// checkNothingLeft fails if a bench has left a file or a process.
func checkNothingLeft(t *testing.T, temp string) {
	t.Helper()
	left, err := os.ReadDir(temp)
	isBench := func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "foyer-bench-") }
	if err != nil || slices.ContainsFunc(left, isBench) {
		t.Errorf("%v is left, %v", left, err)
	}
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range commands {
		command, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(command), filepath.Join(temp, "foyer-bench-")) {
			t.Errorf("%q is still running", command)
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"--quick", "--only", "wish,bare"}, io.Discard)
	if err != nil || o.rounds != 3 || o.held != 0 || !slices.Equal(o.only, []string{"wish", "bare"}) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"quick"}, {"--rounds", "0"}, {"--window", "0s"}, {"--nonsense"}} {
		if o, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v: %+v", args, o)
		}
	}
}

func TestChoose(t *testing.T) {
	got, err := choose([]string{"bare", "wish"})
	if err != nil || !slices.Equal(names(got), []string{"foyer", "foyer again", "wish", "bare"}) {
		t.Errorf("%v, %v", names(got), err)
	}
	if got, err := choose(nil); err != nil || len(got) != len(peers) {
		t.Errorf("%v, %v", names(got), err)
	}
	if got, err := choose([]string{"telnetd"}); err == nil {
		t.Errorf("%v", names(got))
	}
}

// The bench compares real servers, and leaves nothing behind.
func TestBench(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var stdout strings.Builder
	if err := run(t.Context(), strings.Fields("--quick --only wish,bare"), &stdout, t.Output()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"foyer", "foyer again", "wish", "bare"} {
		if !strings.Contains(stdout.String(), "\n| "+name+" | ") || !strings.Contains(stdout.String(), "\n- "+name+": ") {
			t.Errorf("no row for %s", name)
		}
	}
	if strings.Count(stdout.String(), " µs | ") != 2*4 || t.Failed() {
		t.Errorf("the table is\n%s", &stdout)
	}
	checkNothingLeft(t, temp)
}

// A peer that cannot run is skipped with one line.
func TestSkipped(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	missing := peer{name: "missing", command: []string{"sh", "-c", "echo no such library >&2; exit 1"}, install: "get it"}
	broken := peer{name: "broken", command: []string{"/nonexistent"}, install: "get it, too"}
	var stdout, stderr strings.Builder
	o := &options{bench: true, rounds: 1, window: 100 * time.Millisecond, concurrency: 2}
	b, err := newBench(t.Context(), o, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	for _, name := range []string{"authorized_keys", "id_ed25519", "password", "ssh_host_ed25519_key"} {
		if info, err := os.Stat(b.path(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v; others can enter the directory", name, info.Mode(), err)
		}
	}
	err = b.run(t.Context(), []peer{peers[0], missing, broken, peers[3]}, &stdout)
	if err != nil || !strings.Contains(stderr.String(), "missing skipped: no such library; to install: get it\n") ||
		!strings.Contains(stderr.String(), "broken skipped: fork/exec /nonexistent") {
		t.Errorf("%v: %s", err, &stderr)
	}
	for _, line := range []string{
		"BenchmarkLogin/by=publickey/server=foyer-", "BenchmarkLogin/by=publickey/server=bare-",
		"BenchmarkLogin/by=password/server=foyer-", "BenchmarkLogin/by=password/server=bare-",
	} {
		if strings.Count(stdout.String(), line) != 1 {
			t.Errorf("no line %s in\n%s", line, &stdout)
		}
	}
}

// A peer ends with the context, and with it all processes that it has started.
func TestStartEndsWithContext(t *testing.T) {
	b := &bench{dir: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := b.start(ctx, peer{command: []string{"sh", "-c", "trap '' TERM; sleep 600 & echo started; wait; sleep 600"}})
	if err != nil {
		t.Fatal(err)
	}
	for r.lastLine() != "started" {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-r.ended
	for !errors.Is(r.signal(0), syscall.ESRCH) {
		time.Sleep(time.Millisecond)
	}
}
