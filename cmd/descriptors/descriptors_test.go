package descriptors_test

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"foyer/cmd/descriptors"
)

// Limit is the hard limit of the process, unless that is larger than the largest limit of interest.
func TestLimit(t *testing.T) {
	out, err := exec.Command("sh", "-c", "ulimit -Hn").Output()
	if err != nil {
		t.Skip(err)
	}
	want, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || want > 1<<30 { // unlimited
		want = 1 << 30
	}
	if got := descriptors.Limit(); got != want {
		t.Errorf("Limit() = %d, want %d", got, want)
	}
}
