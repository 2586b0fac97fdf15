package sshtest

import (
	"os"
	"testing"
)

// Need skips the test if ok is false: then what is missing on this machine, and install says how to install it. If
// FOYER_TEST_NOSKIP is 1, as in CI, the test fails instead, so that CI never passes without running it.
func Need(t testing.TB, what, install string, ok bool) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("FOYER_TEST_NOSKIP") == "1":
		t.Fatalf("%s is missing: %s", what, install)
	default:
		t.Skipf("%s is missing: %s", what, install)
	}
}
