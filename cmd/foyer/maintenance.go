package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
	"foyer/cmd/foyer/settings"
	"foyer/middleware/content"
	"foyer/middleware/eventlog/sanitize"
	"foyer/middleware/maintenance"
	"foyer/middleware/share"
)

// maintenanceCommand returns the command that switches maintenance on and off.
func maintenanceCommand(cfg *Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "maintenance",
		Short: "Answer all visitors with a maintenance page for a while",
		Long: "Answer new sessions with a maintenance page, without a restart. The switch is a file (--maintenance-file), which\n" +
			"running servers see at once. Run it in the server's working directory. Open sessions go on.\n\n" +
			"Servers that share (--share) have a second switch, which is one for all of them. With --share or that setting in\n" +
			"the file it is the one that is switched; --local switches the file.",
		Example: "foyer maintenance on --until 2h\nfoyer maintenance on --until 2026-12-06T04:00:00Z --file texts/page.md --except-groups staff\nfoyer maintenance off",
		Args:    arguments,
	}
	var local bool
	on := maintenanceOn(cfg, &local)
	off := &cobra.Command{Use: "off", Short: "End the maintenance", Args: arguments, RunE: cfg.loaded(func(cmd *cobra.Command, _ []string) error {
		return maintenanceOff(cfg, local, cmd.OutOrStdout())
	})}
	status := &cobra.Command{Use: "status", Short: "Print whether the server is under maintenance", Args: arguments, RunE: cfg.loaded(func(cmd *cobra.Command, _ []string) error {
		return printMaintenance(cfg, local, cmd.OutOrStdout(), time.Now())
	})}
	cmd.AddCommand(on, off, status)
	for _, sub := range cmd.Commands() {
		cfg.settings.AddFlags(sub.Flags(), "maintenance-file", "share", "share-name", "share-password-file")
		sub.Flags().BoolVar(&local, "local", false, "only the file, not the switch of all servers that share")
	}
	return cmd
}

// maintenanceOff ends the maintenance of all servers that share, and that of the file.
func maintenanceOff(cfg *Config, local bool, w io.Writer) error {
	everywhere := cfg.Share != "" && !local
	if everywhere {
		if err := switchAll(cfg, share.Switch{}); err != nil {
			return err
		}
	}
	removed, err := maintenance.Remove(cfg.MaintenanceFile)
	if err != nil {
		return err
	}
	if !removed && !everywhere {
		fmt.Fprintln(w, "the switch was off")
	}
	return printMaintenance(cfg, local, w, time.Now())
}

func maintenanceOn(cfg *Config, local *bool) *cobra.Command {
	var until string
	var state maintenance.State
	cmd := &cobra.Command{Use: "on", Short: "Begin the maintenance", Args: arguments}
	cmd.RunE = cfg.loaded(func(cmd *cobra.Command, _ []string) (err error) {
		if state.Until, err = parseUntil(until, time.Now()); err != nil {
			return err
		}
		rule := state.Rule()
		if _, err := content.New(maintenance.Settings(cfg.rules.Groups, content.NewTexts(".", nil), rule)); err != nil {
			return cli.Each(err)[0] // a text is the page and the banner
		}
		if err := switchOn(cfg, state, *local); err != nil {
			return err
		}
		return printMaintenance(cfg, *local, cmd.OutOrStdout(), time.Now())
	})
	cmd.Flags().StringVar(&until, "until", "", "`time` at which it ends by itself, such as 2h or 2026-12-06T04:00:00Z (default: never)")
	cmd.Flags().StringVar(&state.Text, "text", "", "`text` of the page")
	cmd.Flags().StringVar(&state.File, "file", "", "`file` with the page, instead of a text")
	cmd.Flags().StringSliceVar(&state.ExceptGroups, "except-groups", nil, "`groups` whose users do not get the page")
	cmd.MarkFlagsMutuallyExclusive("text", "file")
	return cmd
}

// switchOn begins a maintenance: of all servers that share, or by the file.
func switchOn(cfg *Config, state maintenance.State, local bool) error {
	switch {
	case cfg.Share == "" || local:
		if err := maintenance.Write(cfg.MaintenanceFile, state); err != nil {
			return fmt.Errorf("write the switch: %w", err)
		}
		return nil
	case state.File != "":
		return cli.Misuse("use --text TEXT, or --local", "--file: servers that share do not have the same files")
	}
	return switchAll(cfg, share.Switch{On: true, Text: state.Text, Until: state.Until, ExceptGroups: state.ExceptGroups})
}

// parseUntil parses a time or a duration from now. An empty text is the zero time.
func parseUntil(text string, now time.Time) (until time.Time, err error) {
	if text == "" {
		return until, nil
	}
	if d, failed := time.ParseDuration(text); failed == nil {
		until = now.Add(d).UTC().Truncate(time.Second)
	} else if until, err = settings.ParseTime(text); err != nil {
		return until, cli.Misuse("use a duration like 2h, or a time like 2026-12-06T04:00:00Z", "--until: %w", err)
	}
	if !until.After(now) {
		return until, cli.Misuse("use a duration like 2h, or a time like 2026-12-06T04:00:00Z", "--until: %s has passed", until.Format(time.RFC3339))
	}
	return until, nil
}

// printMaintenance prints what closes the server at a time, or will.
func printMaintenance(cfg *Config, local bool, w io.Writer, now time.Time) error {
	state, on, err := maintenance.Read(cfg.MaintenanceFile)
	if err != nil {
		return err
	}
	lines := closures(cfg, state, on, now)
	if !local {
		shared, err := sharedClosures(cfg, now)
		if err != nil {
			return err
		}
		lines = append(lines, shared...)
	}
	if len(lines) == 0 {
		lines = []string{"maintenance is off"}
	}
	_, err = fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

func closures(cfg *Config, state maintenance.State, on bool, now time.Time) (lines []string) {
	if on {
		lines = closure(state.Rule(), cfg.MaintenanceFile, now)
	}
	if dated := cfg.rules.maintenance; dated != nil {
		lines = append(lines, closure(*dated, dated.At(""), now)...)
	}
	return lines
}

// closure returns the line about a rule, unless it is over.
func closure(rule content.Rule, by string, now time.Time) []string {
	if !rule.Until.IsZero() && !now.Before(rule.Until) {
		return nil
	}
	line := "maintenance is on"
	if now.Before(rule.From) {
		line = "maintenance is planned from " + rule.From.Format(time.RFC3339)
	}
	if !rule.Until.IsZero() {
		line += " until " + rule.Until.Format(time.RFC3339)
	}
	if len(rule.NotGroups) > 0 {
		line += ", except for " + sanitize.String(strings.Join(rule.NotGroups, ", "), 200)
	}
	return []string{line + " (" + by + ")"}
}

// maintenanceTable is maintenance by date in the file.
func maintenanceTable() settings.Table {
	keys := append(saying(maintenance.DefaultText), settings.Key{
		Name: "except-groups", Kind: settings.Strings, Example: `except-groups = ["staff"]`, Help: "groups whose users do not get the page",
	})
	return settings.Table{Name: "maintenance", Keys: keys,
		Help: "Maintenance by date: all visitors get the page and exit status 1; at once: foyer maintenance on"}
}

// readMaintenance reads the maintenance by date.
func readMaintenance(e *settings.Entry, problem func(error)) *content.Rule {
	rule := readRule(e, problem)
	rule.NotGroups = e.Strings("except-groups")
	rule.At = func(key string) string { return e.At(strings.Replace(key, "not-groups", "except-groups", 1)) }
	whole := maintenance.State{Text: rule.Text, File: rule.File, ExceptGroups: rule.NotGroups, Until: rule.Until}.Rule()
	whole.From, whole.At = rule.From, rule.At
	return &whole
}

// openMaintenance returns the maintenance of a server.
func openMaintenance(cfg *Config, logger *slog.Logger, shared func() *share.Switch) (*maintenance.Maintenance, error) {
	m, err := maintenance.Open(maintenance.Config{
		Path: cfg.MaintenanceFile, Groups: cfg.rules.Groups, Dated: cfg.rules.maintenance, Texts: watchedTexts(logger), Log: logger,
		Shared: shared,
	})
	if err != nil {
		return nil, fmt.Errorf("read the maintenance: %w", err)
	}
	return m, nil
}

// readMaintenance adds a warning if the server is closed, or will be.
func (r *report) readMaintenance(cfg *Config, now time.Time) {
	state, on, err := maintenance.Read(cfg.MaintenanceFile)
	if err != nil {
		r.problems = append(r.problems, err)
	}
	for _, line := range closures(cfg, state, on, now) {
		r.warnings = append(r.warnings, cli.With(errors.New(line), "run: foyer maintenance status"))
	}
	if _, err := openMaintenance(cfg, slog.New(slog.DiscardHandler), nil); err != nil && on {
		r.addNamed("maintenance-file", err)
	}
}
