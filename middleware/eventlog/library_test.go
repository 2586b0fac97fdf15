package eventlog_test

import (
	"log/slog"
	"strings"
	"testing"

	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/sshtest"
)

// What a library says is in the log, with its attributes and groups, until it says too much.
func TestLibrary(t *testing.T) {
	text := sshtest.NewLog()
	logger := eventlog.NewLogger(text, "logfmt", slog.LevelInfo)
	counts := counters.New(counters.Config{Logger: logger})
	library := slog.New(eventlog.Library(logger, counts)).With("a", 1).WithGroup("g")
	library.Info("hello", "b", 2)
	if _, got, _ := strings.Cut(text.String(), " "); got != "level=info msg=hello a=1 g.b=2\n" {
		t.Errorf("the log has %q", text)
	}
	library.Debug("not at this level")
	const flood = 1000
	for range flood {
		library.Error("panic")
	}
	told := strings.Count(text.String(), "msg=panic")
	if left := counts.Counts()[counters.LogRate]; told > 260 || told < 200 || int(left)+told != flood {
		t.Errorf("%d lines of %d are in the log, and %d are counted as left out", told, flood, left)
	}
	if strings.Contains(text.String(), "not at this level") {
		t.Error("a line below the level is in the log")
	}
}
