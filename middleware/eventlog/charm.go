package eventlog

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"time"

	charm "charm.land/log/v2"
)

// Charm returns a logger of Charm's, for its libraries, whose lines go to handler.
func Charm(handler slog.Handler) *charm.Logger {
	return charm.NewWithOptions(charmLines{handler}, charm.Options{Level: charm.DebugLevel, Formatter: charm.JSONFormatter})
}

// charmLines takes lines in JSON.
type charmLines struct{ slog.Handler }

// Write takes one line.
func (c charmLines) Write(p []byte) (int, error) {
	var line map[string]any
	if err := json.Unmarshal(p, &line); err != nil {
		return len(p), err
	}
	var level slog.Level
	name, _ := line[charm.LevelKey].(string)
	if level.UnmarshalText([]byte(name)) != nil { // a line without a level, or a fatal one
		level = slog.LevelError
	}
	msg, _ := line[charm.MessageKey].(string)
	delete(line, charm.LevelKey)
	delete(line, charm.MessageKey)
	if !c.Enabled(context.Background(), level) {
		return len(p), nil
	}
	record := slog.NewRecord(time.Now(), level, msg, 0)
	for _, key := range slices.Sorted(maps.Keys(line)) {
		record.Add(key, line[key])
	}
	return len(p), c.Handle(context.Background(), record)
}
