package main

import (
	"os"
	"path/filepath"
	"testing"
)

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
	measured := measurePrimitives()
	if len(measured) != 5 {
		t.Errorf("%d are measured", len(measured))
	}
	for _, p := range measured {
		if p.Each <= 0 {
			t.Errorf("%s costs %g µs", p.Name, p.Each)
		}
	}
}
