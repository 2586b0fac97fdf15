package eventlog

import (
	"context"
	"log/slog"

	"foyer/middleware/eventlog/counters"
)

// libraryRate is how many lines a second libraries may write, after a burst of 250. Some lines contain a stack of 2 kB.
const libraryRate = 1

// Library returns a handler for lines that libraries write through [log/slog]. It writes them to logger and limits them
// as it does errors of connections. Omitted lines are counted as log-rate.
func Library(logger *slog.Logger, counts *counters.Counters) slog.Handler {
	return &library{logger.Handler(), New(Config{Logger: logger, Rate: libraryRate, Counters: counts})}
}

type library struct {
	slog.Handler
	lines *Log
}

func (h *library) Handle(ctx context.Context, record slog.Record) error {
	if !h.lines.Connection(nil).Take(slog.LevelError, 1) {
		return nil
	}
	return h.Handler.Handle(ctx, record)
}

func (h *library) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &library{h.Handler.WithAttrs(attrs), h.lines}
}

func (h *library) WithGroup(name string) slog.Handler {
	return &library{h.Handler.WithGroup(name), h.lines}
}
