package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	p, err := parse([]string{"quick", "--window", "2s", "--only", "wish,bare"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if p.rounds != 3 || p.window != 2*time.Second || !slices.Equal(p.only, []string{"wish", "bare"}) || p.targets {
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
	t.Setenv("FOYER_LISTEN", "nowhere") // is no business of the doors'
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
	if left, err := os.ReadDir(temp); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool {
		return strings.HasPrefix(e.Name(), "foyer-bench-")
	}) {
		t.Errorf("%v is left, %v", left, err)
	}
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
	for _, d := range r.Doors {
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
			if trips := d.Trips[method]; d.Name != floor && (trips.Number < 4 || trips.Number > 12 || trips.Server < 500) {
				t.Errorf("%s: a login by %s is %+v", d.Name, method, trips)
			}
		}
	}
}

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
