package eventlog_test

import (
	"bytes"
	"log/slog"
	"testing"

	"charm.land/log/v2"

	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/counters"
)

// What a library says is in the log, with its attributes and groups, until it says too much.
func TestLibrary(t *testing.T) {
	var out bytes.Buffer
	logger := log.NewWithOptions(&out, log.Options{Formatter: log.LogfmtFormatter})
	counts := counters.New(counters.Config{Logger: logger})
	library := slog.New(eventlog.Library(logger, counts)).With("a", 1).WithGroup("g")
	library.Info("hello", "b", 2)
	if got, want := out.String(), "level=info prefix=g msg=hello a=1 b=2\n"; got != want {
		t.Errorf("the log has %q, want %q", got, want)
	}
	library.Debug("not at this level")
	const flood = 1000
	for range flood {
		library.Error("panic")
	}
	told := bytes.Count(out.Bytes(), []byte("msg=panic"))
	if left := counts.Counts()[counters.LogRate]; told > 260 || told < 200 || int(left)+told != flood {
		t.Errorf("%d lines of %d are in the log, and %d are counted as left out", told, flood, left)
	}
}
