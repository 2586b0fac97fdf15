//go:build !windows

package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"foyer/middleware/sshtest"
)

// The fleet does what it says: no login fails when the engine is lost and when the servers are restarted.
func TestFleet(t *testing.T) {
	for _, program := range []string{"redis-server", "haproxy"} {
		_, err := exec.LookPath(program)
		if err != nil {
			_, err = exec.LookPath("/usr/sbin/" + program)
		}
		sshtest.Need(t, program, "apt-get install "+program, err == nil)
	}
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"maintenance    off at all", "refused by b", "refused by c", "restart        c", "none failed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing about %q in\n%s", want, &out)
		}
	}
}

// What is missing is named, with what to type.
func TestFleetNeeds(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := (&fleet{}).prepare(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "not installed; run: sudo apt-get install ") {
		t.Error(err)
	}
}
