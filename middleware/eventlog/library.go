package eventlog

import (
	"context"
	"log/slog"

	"charm.land/log/v2"

	"foyer/middleware/eventlog/counters"
)

// libraryRate is how many lines a second libraries may write, after a burst of 250: some have a stack of 2 kB.
const libraryRate = 1

// Library returns a handler for what libraries say through [log/slog], which writes to logger and is bounded as errors
// of connections are. What is left out counts in the counters as log-rate.
func Library(logger *log.Logger, counts *counters.Counters) slog.Handler {
	return &library{Handler: logger, lines: New(Config{Sink: logger, Rate: libraryRate, Counters: counts})}
}

type library struct {
	slog.Handler
	lines *Log
}

// Handle implements [slog.Handler].
func (h *library) Handle(ctx context.Context, record slog.Record) error {
	if !h.lines.Connection(nil).Take(log.ErrorLevel, 1) {
		return nil
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements [slog.Handler].
func (h *library) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &library{h.Handler.WithAttrs(attrs), h.lines}
}

// WithGroup implements [slog.Handler].
func (h *library) WithGroup(name string) slog.Handler {
	return &library{h.Handler.WithGroup(name), h.lines}
}
