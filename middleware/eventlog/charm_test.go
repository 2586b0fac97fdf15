package eventlog_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"foyer/middleware/eventlog"
)

// Lines of Charm's libraries have the form of all others: one line each, with their level and facts.
func TestCharm(t *testing.T) {
	var out strings.Builder
	logger := eventlog.Charm(eventlog.NewLogger(&out, "logfmt", slog.LevelInfo).Handler())
	logger.Debug("not shown")
	logger.Info("hello", "a", 1)
	logger.Error("app exit with error", "error", errors.New("boom"), "stack", "one\ntwo")
	logger.Print("no level")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{
		`level=info msg=hello a=1`, `level=error msg="app exit with error" error=boom stack="one\ntwo"`, `level=error msg="no level"`,
	} {
		if i >= len(lines) || !strings.HasSuffix(lines[i], want) {
			t.Errorf("line %d of %q, want %s", i, lines, want)
		}
	}
	if len(lines) != 3 {
		t.Errorf("%d lines", len(lines))
	}
}
