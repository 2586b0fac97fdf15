package eventlog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/sanitize"
	"foyer/middleware/session"
	"foyer/middleware/sshtest"
)

// hostile is a value with line ends, an escape sequence, quotes and what else could end a value or a line.
const hostile = "a\nlevel=info msg=forged\r\x1b[2J\x00\t\"b\" c=d \\ é"

// record returns what a logger of that format writes for one record.
func record(format string, args ...any) string {
	text := sshtest.NewLog()
	eventlog.NewLogger(text, format, slog.LevelInfo).Warn("event", args...)
	return text.String()
}

func TestLogfmt(t *testing.T) {
	for _, tt := range []struct {
		args []any
		want string
	}{
		{nil, ""},
		{[]any{"user", "guest"}, " user=guest"},
		{[]any{"user", hostile}, ` user="a\nlevel=info msg=forged\r\x1b[2J\x00\t\"b\" c=d \\ é"`},
		{[]any{"err", errors.New(hostile)}, ` err="a\nlevel=info msg=forged\r\x1b[2J\x00\t\"b\" c=d \\ é"`},
		{[]any{"empty", "", "quote", `"`, "space", "a b", "equals", "a=b"}, ` empty="" quote="\"" space="a b" equals="a=b"`},
		{[]any{"user", sanitize.String(hostile, 8)}, ` user=a\nlevel…`},
		{[]any{"addr", peer, "pty", session.Granted, "duration", 1500 * time.Microsecond},
			" addr=192.0.2.1:22 pty=granted duration=1.5ms"},
		{[]any{slog.Group("g", "level", "X", "time", 1)}, " g.level=X g.time=1"},
		{[]any{"time", "now"}, " time=now"}, // as a library may
	} {
		got := record("logfmt", tt.args...)
		when, rest, _ := strings.Cut(strings.TrimPrefix(got, "time="), " ")
		if want := "level=warn msg=event" + tt.want + "\n"; rest != want {
			t.Errorf("wrote %q, want %q", rest, want)
		}
		wantTime(t, when)
	}
}

var peer = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 22}

// wantTime fails the test if when has not milliseconds and a zone.
func wantTime(t *testing.T, when string) {
	t.Helper()
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)$`).MatchString(when) {
		t.Errorf("the time is %q", when)
	}
}

func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		args []any
		want map[string]any
	}{
		{nil, nil},
		{[]any{"user", hostile, "err", errors.New(hostile)}, map[string]any{"user": hostile, "err": hostile}},
		{[]any{"n", 3, "duration", 1500 * time.Microsecond, "limit", 8 * time.Second},
			map[string]any{"n": 3.0, "duration_ms": 1.5, "limit_ms": 8000.0}},
		{[]any{slog.Group("g", "took", time.Minute)}, map[string]any{"g": map[string]any{"took_ms": 60_000.0}}},
		{[]any{"addr", peer, "pty", session.Granted}, map[string]any{"addr": "192.0.2.1:22", "pty": "granted"}},
		{[]any{"none", (*net.TCPAddr)(nil)}, map[string]any{"none": "<nil>"}},
	} {
		text := record("json", tt.args...)
		if strings.ContainsFunc(strings.TrimSuffix(text, "\n"), func(r rune) bool { return r < ' ' }) {
			t.Errorf("control characters in %q", text)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		wantTime(t, fmt.Sprint(got["time"]))
		delete(got, "time")
		want := map[string]any{"level": "warn", "msg": "event"}
		for key, value := range tt.want {
			want[key] = value
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("wrote %v, want %v", got, want)
		}
	}
}

// The format for people has the time of day, and each line end in a value begins a line that cannot be taken for another
// event.
func TestText(t *testing.T) {
	lines := strings.Split(record("text", "user", hostile, "quote", `"b" c`), "\n")
	if !regexp.MustCompile(`^\d\d:\d\d:\d\d WARN  ?event$`).MatchString(strings.TrimSpace(lines[0])) {
		t.Errorf("the first line is %q", lines[0])
	}
	if !strings.Contains(strings.Join(lines, "\n"), `│ level=info msg=forged\r\x1b[2J\x00\t"b" c=d \ é`) {
		t.Errorf("the value is not escaped in %q", lines)
	}
	if last := lines[len(lines)-2]; last != ` quote="\"b\" c"` {
		t.Errorf("the last line is %q", last)
	}
	for _, line := range lines[1:] {
		if line != "" && !strings.HasPrefix(line, " ") || strings.ContainsAny(line, "\x1b\r\x00\t") {
			t.Errorf("a line of a value is %q", line)
		}
	}
}

// Below its level a logger of any format writes nothing.
func TestFormatLevels(t *testing.T) {
	if want := []string{"text", "logfmt", "json"}; !slices.Equal(eventlog.Formats, want) {
		t.Errorf("the formats are %q, want %q", eventlog.Formats, want)
	}
	for _, format := range eventlog.Formats {
		text := sshtest.NewLog()
		logger := eventlog.NewLogger(text, format, slog.LevelWarn)
		logger.Info("no")
		logger.Warn("yes")
		if got := text.String(); strings.Contains(got, "no") || !strings.Contains(got, "yes") {
			t.Errorf("%s: the log is %q", format, got)
		}
	}
}

// BenchmarkNewLogger is what a line of each format costs.
func BenchmarkNewLogger(b *testing.B) {
	for _, format := range eventlog.Formats {
		b.Run(format, func(b *testing.B) {
			logger := eventlog.NewLogger(discard{}, format, slog.LevelInfo)
			b.ReportAllocs()
			for b.Loop() {
				logger.Info("session closed", "conn", "1a2b", "user", "guest", "exit", 0, "duration", time.Second)
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
