package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// benchUntil returns a bench of two doors, and of a knock that fails once it was called so often.
func benchUntil(t *testing.T, calls int) *bench {
	t.Helper()
	h := &house{dir: t.TempDir()}
	script := fmt.Sprintf("#!/bin/sh\necho >>\"$0.calls\"\n[ $(wc -l <\"$0.calls\") -le %d ] || { echo no more >&2; exit 1; }\n"+
		`echo '{"logins": 1, "logins_per_s": 5, "server": {"cpu_ms_per_login": 1}}'`+"\n", calls)
	if err := h.write("bin/knock", []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	b := newBench(&plan{rounds: 9}, h, io.Discard)
	t.Cleanup(b.close)
	for _, name := range []string{itself, again} {
		d := door{name: name, command: func(*house, string) []string { return []string{"sleep", "600"} }}
		r, err := h.start(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		b.doors = append(b.doors, r)
		b.report.Doors = append(b.report.Doors, &doorReport{Name: name, door: d, Logins: map[string]*figures{}})
	}
	return b
}

// TestDyingBench: the rounds that were complete are told, and the error too; where there are none, the error alone.
func TestDyingBench(t *testing.T) {
	const each = 4 // calls in a round: two doors, two methods
	for _, tt := range []struct {
		name          string
		calls, rounds int
	}{
		{"in the round that does not count", 1, 0},
		{"in the first round", each + 3, 0},
		{"in the third round", 3*each + 3, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := benchUntil(t, tt.calls)
			var tables strings.Builder
			err := b.finish(&tables, b.rounds(t.Context()))
			if err == nil || !strings.Contains(err.Error(), "no more") {
				t.Errorf("the error is %v", err)
			}
			if tt.rounds == 0 {
				if tables.Len() > 0 {
					t.Errorf("a report of nothing:\n%s", &tables)
				}
				return
			}
			if !strings.Contains(tables.String(), fmt.Sprintf("; %d rounds of ", tt.rounds)) {
				t.Errorf("not %d rounds:\n%s", tt.rounds, &tables)
			}
			for _, d := range b.report.Doors {
				if f := d.Logins[password]; len(f.Windows) != tt.rounds || f.CPU == nil ||
					strings.Count(tables.String(), "\n| "+d.Name+" | 1000 µs |") != len(methods()) {
					t.Errorf("%s has %d windows in\n%s", d.Name, len(f.Windows), &tables)
				}
			}
		})
	}
}

// TestSurvey: a peer that is missing is told of by name, and those after it are taken.
func TestSurvey(t *testing.T) {
	var told strings.Builder
	b := newBench(&plan{}, &house{}, &told)
	version := func(context.Context, *house) string { return "1" }
	b.survey(t.Context(), []door{
		{name: "missing", remedy: "get it", version: version,
			prepare: func(context.Context, *house) error { return errors.New("not here") }},
		{name: "there", version: version},
	})
	if told.String() != "missing is skipped: get it (not here)\n" || len(b.report.Skipped) != 1 ||
		len(b.report.Doors) != 1 || b.report.Doors[0].Name != "there" {
		t.Errorf("%q is told, %+v skipped, %+v taken", &told, b.report.Skipped, b.report.Doors)
	}
}

// TestVisitExpects: what does not say the message has not been logged in to.
func TestVisitExpects(t *testing.T) {
	b := benchUntil(t, 0)
	if err := b.house.write("bin/knock", []byte("#!/bin/sh\necho \"$@\" >\"$0.args\"\necho '{\"logins\": 1}'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.house.visit(t.Context(), b.doors[0], password, pace{visitors: 1}); err != nil {
		t.Fatal(err)
	}
	args, err := os.ReadFile(b.house.path("bin", "knock.args"))
	if want := "--expect " + b.house.path("message"); err != nil || !strings.Contains(string(args), want) {
		t.Errorf("knock is called with %q, %v", args, err)
	}
}

// TestEachHeld: memory is told of connections that are all there in the end, and of a door that has dropped some, or is
// gone, there is none.
func TestEachHeld(t *testing.T) {
	for name, tt := range map[string]struct {
		report string
		each   float64
		fails  bool
	}{
		"all are there":    {`{"opened": 10, "memory": {"before_bytes": 1000, "end_bytes": 3000}}`, 200, false},
		"some were not":    {`{"opened": 9, "memory": {"before_bytes": 1000, "end_bytes": 3000}}`, 0, true},
		"some were lost":   {`{"opened": 10, "dropped": 1, "memory": {"before_bytes": 1000, "end_bytes": 3000}}`, 0, true},
		"the door is gone": {`{"opened": 10, "dropped": 10, "memory": {"before_bytes": 1000, "end_bytes": null}}`, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			var report holdReport
			if err := json.Unmarshal([]byte(tt.report), &report); err != nil {
				t.Fatal(err)
			}
			if each, err := report.each(10); each != tt.each || (err != nil) != tt.fails {
				t.Errorf("%f, %v", each, err)
			}
		})
	}
}
