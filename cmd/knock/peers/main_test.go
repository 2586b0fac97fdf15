package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets a test run the program as a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const asProgram = "BENCH_TEST_MAIN"

// Whoever reads no further what the bench tells leaves nothing behind.
func TestBrokenPipe(t *testing.T) {
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "quick", "--only", "bare")
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+temp)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	cmd.Stderr = writer
	var ended *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &ended) || ended.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	_ = writer.Close()
	nothingIn(t, temp)
}

// nothingIn fails where a bench has left anything in a directory.
func nothingIn(t *testing.T, temp string) {
	t.Helper()
	left, err := os.ReadDir(temp)
	if err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "foyer-bench-") }) {
		t.Errorf("%v is left, %v", left, err)
	}
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range commands {
		if command, err := os.ReadFile(path); err == nil && strings.Contains(string(command), filepath.Join(temp, "foyer-bench-")) {
			t.Errorf("%q goes on", command)
		}
	}
}

// What cannot be written is not measured.
func TestNowhereToWrite(t *testing.T) {
	for _, flag := range []string{"--markdown", "--json"} {
		var told strings.Builder
		err := run(t.Context(), []string{"quick", flag, filepath.Join(t.TempDir(), "missing", "file")}, io.Discard, &told)
		if !errors.Is(err, fs.ErrNotExist) || told.Len() > 0 {
			t.Errorf("%s: %v, after %q", flag, err, &told)
		}
	}
}

// Where one file cannot be written, the other is.
func TestWritesTheOther(t *testing.T) {
	figures := filepath.Join(t.TempDir(), "figures.json")
	b := newBench(&plan{markdown: t.TempDir(), json: figures}, &house{}, io.Discard)
	if err := b.write(io.Discard); err == nil {
		t.Error("a directory was written to")
	}
	if text, err := os.ReadFile(figures); err != nil || !json.Valid(text) {
		t.Errorf("%q, %v", text, err)
	}
}

func TestParse(t *testing.T) {
	p, err := parse([]string{"quick", "--window", "2s", "--only", "wish,bare"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if p.rounds != 3 || p.window != 2*time.Second || !slices.Equal(p.only, []string{"wish", "bare"}) {
		t.Errorf("the plan is %+v", p)
	}
	for _, bad := range [][]string{{"slow"}, {"--rounds", "0"}, {"--starts", "1"}, {"--window", "0s"}, {"--nonsense"}} {
		if p, err := parse(bad, io.Discard); err == nil {
			t.Errorf("%v is a plan: %+v", bad, p)
		}
	}
}

func names(list []door) (names []string) {
	for _, d := range list {
		names = append(names, d.name)
	}
	return names
}

func TestSelected(t *testing.T) {
	for _, test := range []struct{ only, want []string }{
		{[]string{"bare", "wish"}, []string{itself, again, "wish", "bare"}},
		{[]string{"conch"}, []string{itself, again, compat, "conch"}},
		{nil, names(doors())},
	} {
		got, err := selected(test.only)
		if err != nil || !slices.Equal(names(got), test.want) {
			t.Errorf("of %v are chosen %v, %v; want %v", test.only, names(got), err, test.want)
		}
	}
	if got, err := selected([]string{"telnetd"}); err == nil {
		t.Errorf("telnetd is %v", names(got))
	}
}

// What a run leaves is nothing, whatever comes of it: no file, and no process.
func TestQuick(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("FOYER_LOG_FORMAT", "nonsense") // is no business of the doors'
	path := filepath.Join(t.TempDir(), "bench.json")
	var tables strings.Builder
	args := strings.Fields("quick --only wish,bare,floor --rounds 2 --window 100ms --held 5 --json")
	err := run(t.Context(), append(args, path), &tables, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{itself, again, "wish", "bare", floor} {
		if got := strings.Count(tables.String(), "\n| "+name+" |"); got < 2 {
			t.Errorf("%s has %d rows in\n%s", name, got, &tables)
		}
	}
	checkFigures(t, path)
	nothingIn(t, temp)
}

// checkFigures checks that there is one for everything, and none that cannot be.
func checkFigures(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	const mega = 1 << 20
	roundTrips := map[string]int{publickey: 8, password: 7} // or so, where the machine has others to serve
	for _, d := range r.Doors {
		if d.Name != floor && d.Idle < mega {
			t.Errorf("%s has %.0f bytes", d.Name, d.Idle)
		}
		for _, method := range methods() {
			f := d.Logins[method]
			switch {
			case f == nil || len(f.Windows) != 2:
				t.Fatalf("%s: what was measured by %s is %+v", d.Name, method, f)
			case f.CPU.Median <= 0 || f.PerSecond.Median <= 0 || f.P50.Median <= 0 || f.P99.Median < f.P50.Median:
				t.Errorf("%s: by %s: %+v", d.Name, method, f)
			case (f.Ratio == nil) != (d.Name == itself):
				t.Errorf("%s: the ratio by %s is %v", d.Name, method, f.Ratio)
			case f.Failed > 0:
				t.Errorf("%s: %d logins by %s failed", d.Name, f.Failed, method)
			}
			if trips := d.Trips[method]; d.Name != floor && (abs(trips.Number-roundTrips[method]) > 1 || trips.Server < 500) {
				t.Errorf("%s: a login by %s is %+v", d.Name, method, trips)
			}
		}
	}
}

func abs(n int) int { return max(n, -n) }

// A door ends with the bench, and takes with it what it has started.
func TestStartEndsWithContext(t *testing.T) {
	h := &house{dir: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := h.start(ctx, door{name: "sleeper", command: func(*house, string) []string {
		return []string{"sh", "-c", "trap '' TERM; sleep 600 & echo started; wait; sleep 600"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	awaitLog(t, r, "started")
	cancel()
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
	deadline := time.Now().Add(patience)
	for !errors.Is(r.signal(0), syscall.ESRCH) {
		if time.Now().After(deadline) {
			t.Fatal("something of its group goes on")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func awaitLog(t *testing.T, r *running, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(r.log.Name())
		if err == nil && strings.Contains(string(text), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log is %q, %v", text, err)
		}
	}
}

// A door that does not come up is told about with its own words.
func TestAnswersTellsTheLog(t *testing.T) {
	h := &house{dir: t.TempDir()}
	r, err := h.start(t.Context(), door{name: "broken", command: func(*house, string) []string {
		return []string{"sh", "-c", "echo no such luck >&2"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.stop()
	_, err = r.answers(t.Context(), &visitor{house: h, method: password})
	if err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("the error is %v", err)
	}
}
