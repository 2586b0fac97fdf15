package limits_test

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"foyer/middleware/limits"
)

// Descriptors is the hard limit of the process, unless that is larger than the largest limit of interest.
func TestDescriptors(t *testing.T) {
	out, err := exec.Command("sh", "-c", "ulimit -Hn").Output()
	if err != nil {
		t.Skip(err)
	}
	want, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || want > 1<<30 { // unlimited
		want = 1 << 30
	}
	if got := limits.Descriptors(); got != want {
		t.Errorf("Descriptors() = %d, want %d", got, want)
	}
}
