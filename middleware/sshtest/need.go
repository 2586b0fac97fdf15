package sshtest

import (
	"os"
	"testing"
)

// Need skips a test that cannot run on this machine: where what is missing, it says how to remedy that. Where
// FOYER_TEST_NOSKIP is 1, as in CI, it fails instead, so that no machine is green for having looked at nothing.
func Need(t testing.TB, what, remedy string, ok bool) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("FOYER_TEST_NOSKIP") == "1":
		t.Fatalf("%s is missing: %s", what, remedy)
	default:
		t.Skipf("%s is missing: %s", what, remedy)
	}
}
