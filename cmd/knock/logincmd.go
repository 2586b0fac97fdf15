package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"foyer/cmd/cli"
)

const defaultVisitors = 8

// openVisitors is how many may be at the door at a time in an open loop, unless it is said: so many that they are
// all busy only where the door is far behind.
const openVisitors = 1000

// addFlags puts the flags on fs that say how visitors come.
func (p *pace) addFlags(fs *pflag.FlagSet) {
	fs.IntVarP(&p.visitors, "concurrency", "c", 0, fmt.Sprintf("visitors at a time (default %d, or at most %d with --rate)", defaultVisitors, openVisitors))
	fs.DurationVarP(&p.duration, "duration", "d", 0, "how long visitors come (default 10s, or until --count)")
	fs.Lookup("duration").DefValue = "" // or the help would say 0s
	fs.Int64VarP(&p.count, "count", "n", 0, "how many logins to make")
	fs.Float64Var(&p.rate, "rate", 0, "logins a second, however long they take; latency counts from the intended start")
}

// complete sets what was not said, and refuses what cannot be.
func (p *pace) complete() error {
	const hint = "leave it out, or say more than 0"
	switch {
	case p.visitors < 0:
		return cli.Misuse(hint, "concurrency %d", p.visitors)
	case p.duration < 0:
		return cli.Misuse(hint, "duration %s", p.duration)
	case p.count < 0:
		return cli.Misuse(hint, "count %d", p.count)
	case !(p.rate >= 0 && p.rate <= 1e6): // NaN neither
		return cli.Misuse("say how many logins a second, as in --rate 200", "rate %g", p.rate)
	}
	if p.visitors == 0 && p.rate > 0 {
		p.visitors = min(openVisitors, affords())
	} else if p.visitors == 0 {
		p.visitors = defaultVisitors
	}
	if err := affordable("visitors at a time", int64(p.visitors)); err != nil {
		return err
	}
	if p.duration == 0 && p.count == 0 {
		p.duration = 10 * time.Second
	}
	return nil
}

// output is how a measurement is told.
type output struct {
	json bool
}

func (o *output) addJSON(fs *pflag.FlagSet) {
	fs.BoolVar(&o.json, "json", false, "print one JSON document instead of the table")
}

// loginCommand is the measurement of whole logins, which is what knock does unless it is told otherwise.
func loginCommand() *cobra.Command {
	var (
		s   = newSettings()
		p   pace
		out output
	)
	cmd := &cobra.Command{
		Use:   "login USER@HOST:PORT",
		Short: "Measure whole logins (the default)",
		Long:  about,
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLogin(cmd, s, p, out, args[0])
		},
	}
	fs := cmd.Flags()
	p.addFlags(fs)
	s.addShared(fs)
	s.addExpect(fs)
	s.addMeter(fs)
	out.addJSON(fs)
	return cmd
}

func runLogin(cmd *cobra.Command, s *settings, p pace, out output, where string) error {
	if err := p.complete(); err != nil {
		return err
	}
	d, err := s.door(cmd.Context(), where)
	if err != nil {
		return err
	}
	r := newRecord()
	var m *measurement
	err = attended(cmd, p.progress(r), func(ctx context.Context) (err error) {
		m, err = measure(ctx, d, p, r)
		return err
	})
	if err != nil {
		return err
	}
	report := newLoginReport(d, p, m)
	if err := out.print(cmd.OutOrStdout(), report); err != nil {
		return err
	}
	return m.verdict()
}

// print writes the report as it was asked for.
func (o output) print(w io.Writer, r interface{ table(io.Writer) }) error {
	var text bytes.Buffer
	if !o.json {
		r.table(&text)
	} else if err := writeJSON(&text, r); err != nil {
		return err
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
