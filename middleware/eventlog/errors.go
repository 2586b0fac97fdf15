package eventlog

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// CountErrors returns a handler that also counts the lines of level error.
func CountErrors(handler slog.Handler, count *atomic.Uint64) slog.Handler {
	return errorCounter{handler, count}
}

type errorCounter struct {
	slog.Handler
	count *atomic.Uint64
}

func (e errorCounter) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= slog.LevelError {
		e.count.Add(1)
	}
	return e.Handler.Handle(ctx, record)
}

func (e errorCounter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return errorCounter{e.Handler.WithAttrs(attrs), e.count}
}

func (e errorCounter) WithGroup(name string) slog.Handler {
	return errorCounter{e.Handler.WithGroup(name), e.count}
}
