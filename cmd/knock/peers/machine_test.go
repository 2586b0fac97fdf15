package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const stat = "42 (a (b) 1 2) S 1 42 42 0 -1 4194304 100 0 0 0 150 25 7 9 20 0 1 0 100 0 0"
	got, err := parseStat(stat)
	if err != nil || got != 1750*time.Millisecond {
		t.Errorf("%q is %s, %v", stat, got, err)
	}
	for _, bad := range []string{"", "42 (x) S 1", "42 (x) S 1 2 3 4 5 6 7 8 9 10 x 12 13"} {
		if got, err := parseStat(bad); err == nil {
			t.Errorf("%q is %s", bad, got)
		}
	}
	if _, err := cpuOf(os.Getpid()); err != nil {
		t.Errorf("this process: %v", err)
	}
}

func TestValueOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "release")
	text := "ID=x\nPRETTY_NAME=\"A System 1\"\nmodel name\t: A CPU @ 1 GHz\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"PRETTY_NAME": "A System 1", "model name": "A CPU @ 1 GHz", "none": "unknown",
	} {
		if got := valueOf(path, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestPrimitives(t *testing.T) {
	for _, p := range measurePrimitives() {
		if p.Each <= 0 {
			t.Errorf("%s costs %g µs", p.Name, p.Each)
		}
	}
}
