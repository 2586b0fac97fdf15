package main

import (
	"context"
	"os"

	"foyer/cmd/cli"
	"foyer/cmd/foyer/settings"
	"foyer/middleware/eventlog"
)

// reload reads the settings and all files again, for new connections, and opens the log files again. If anything is invalid,
// nothing changes but the log files. It reports whether the new settings are used.
func (r *running) reload(ctx context.Context) bool {
	r.server.Events.Flush() // in their order, and in the file that is open now
	reopen(r, "log", r.log, r.cfg.LogFile)
	reopen(r, "fail-log", r.users.Load().failFile, r.cfg.FailLog)
	next := newConfig()
	next.File, next.fileRequired = r.cfg.File, r.cfg.settings.HasFile // a file that is being replaced is not the default settings
	next.settings.Inherit(r.cfg.settings)
	if problems := next.load(r.cfg.flags, os.Getenv); len(problems) > 0 {
		return r.refuse(problems...)
	}
	r.leaveOutDefault(next)
	next.Writer, next.Format = r.cfg.Writer, r.cfg.Format
	s, err := r.server.Next(next.Config)
	if err == nil {
		err = r.build(next, s)
	}
	if err != nil {
		return r.refuse(cli.Each(err)...)
	}
	changes, tables := r.cfg.settings.Changes(next.settings), r.cfg.settings.ChangedTables(next.settings)
	r.server.Become(ctx, s)
	r.cfg = next
	for _, change := range changes {
		r.logChange(change)
	}
	for _, table := range tables {
		r.server.Logger.Info("table changed", "table", table, "entries", len(next.settings.Entries(table)))
	}
	r.server.Logger.Info("settings reloaded", "changed", len(changes)+len(tables))
	return true
}

// refuse logs why the settings stay as they are.
func (r *running) refuse(problems ...error) bool {
	for _, err := range problems {
		r.server.Logger.Error("settings not reloaded", problem(err)...)
	}
	return false
}

// logChange logs a setting that has changed. Log files were opened under their last names, so that a new name follows.
func (r *running) logChange(change settings.Change) {
	facts := []any{"setting", change.Name, "old", change.Old, "new", change.New}
	files := map[string]*eventlog.File{"log": r.log, "fail-log": r.users.Load().failFile}
	if file, isFile := files[change.Name]; isFile {
		change.Restart = change.Name == "log" && (change.Old == "" || change.New == "")
		if !change.Restart {
			reopen(r, change.Name, file, change.New)
		}
	}
	if change.Restart {
		r.server.Logger.Warn("setting needs a restart", facts...)
		return
	}
	r.server.Logger.Info("setting changed", facts...)
}

// reopen opens a log file, if there is one, under a path.
func reopen(r *running, name string, file *eventlog.File, path string) {
	if file == nil || path == "" || path == "-" {
		return
	}
	if err := file.Reopen(path); err != nil {
		r.server.Logger.Error("log file not opened again", "setting", name, "err", err)
	}
}
