package eventlog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"charm.land/log/v2"
	"github.com/charmbracelet/colorprofile"
)

// Formats are the formats that [NewLogger] knows.
var Formats = []string{"text", "logfmt", "json"}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// NewLogger returns a logger that writes lines of at least level to w. The format "text" is Charm's log, for people.
// The formats "logfmt" and "json" are log/slog's, for programs, and take a tenth of the CPU time. In JSON a duration is
// a number of milliseconds, with a key that ends in _ms.
func NewLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: forJSON}))
	case "logfmt":
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: forLogfmt}))
	}
	text := log.NewWithOptions(w, log.Options{Level: log.DebugLevel, ReportTimestamp: true, TimeFormat: "15:04:05"})
	if timeout, ok := w.(*TimeoutWriter); ok { // which hides a terminal
		text.SetColorProfile(colorprofile.Detect(timeout.to, os.Environ()))
	}
	return slog.New(leveled{text, level})
}

// leveled is a handler whose level may change.
type leveled struct {
	slog.Handler
	level slog.Leveler
}

func (l leveled) Enabled(_ context.Context, level slog.Level) bool { return level >= l.level.Level() }

func (l leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{l.Handler.WithAttrs(attrs), l.level}
}

func (l leveled) WithGroup(name string) slog.Handler {
	return leveled{l.Handler.WithGroup(name), l.level}
}

func forLogfmt(groups []string, attr slog.Attr) slog.Attr {
	switch {
	case len(groups) > 0:
	case attr.Key == slog.LevelKey:
		attr.Value = slog.StringValue(strings.ToLower(attr.Value.String()))
	case attr.Key == slog.TimeKey && attr.Value.Kind() == slog.KindTime: // a caller may use the key for another value
		attr.Value = slog.StringValue(attr.Value.Time().Format(timeFormat))
	}
	return attr
}

func forJSON(groups []string, attr slog.Attr) slog.Attr {
	if attr.Value.Kind() == slog.KindDuration {
		ms := float64(attr.Value.Duration()) / float64(time.Millisecond)
		return slog.Float64(attr.Key+"_ms", ms)
	}
	if value, ok := attr.Value.Any().(fmt.Stringer); ok && attr.Value.Kind() == slog.KindAny {
		attr.Value = slog.StringValue(fmt.Sprint(value)) // as in logfmt, instead of its fields
	}
	return forLogfmt(groups, attr)
}
