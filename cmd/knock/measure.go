package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"foyer/cmd/knock/report"
)

// measureLogins makes logins. When ctx is done it ends early and does not count the logins in progress.
func measureLogins(ctx context.Context, srv *server, l load, r *record) (*report.Measurement, error) {
	return measure(ctx, srv, l, r, func(intended time.Time) bool {
		login := srv.login(ctx, intended)
		if login.err != nil && ctx.Err() != nil {
			return false
		}
		r.add(login)
		return login.err == nil
	}, func() {})
}

// measure calls start as the load says, then wait, and reports what the record has then.
func measure(
	ctx context.Context, srv *server, l load, r *record, start func(intended time.Time) bool, wait func(),
) (*report.Measurement, error) {
	usage, err := startUsage(ctx, srv.meter)
	if err != nil {
		return nil, err
	}
	r.begin()
	m := &report.Measurement{Mode: "login", Started: r.start, Concurrency: l.concurrency, Rate: l.rate}
	m.Queued, m.GaveUp = l.runUntilHopeless(ctx, r, start)
	elapsed := time.Since(r.start)
	wait()
	m.Interrupted = ctx.Err() != nil
	m.Usage, m.UsageError = usage.stop(context.WithoutCancel(ctx), r.logins)
	m.Server, m.Seconds, m.Logins, m.Failed = srv.report(r.server), elapsed.Seconds(), r.logins, r.failed
	m.PerSecond = float64(m.Logins) / m.Seconds
	m.Latency, m.Histogram = r.latency(), report.Histogram(r.histograms[wholeLogin])
	m.Timeline, m.Failures = r.timeline(elapsed), report.Failures(r.reasons)
	return m, nil
}

type measureFunc func(context.Context, *server, *record) (*report.Measurement, error)

// runMeasurement opens the server, measures it, and prints the report.
func runMeasurement(cmd *cobra.Command, s *settings, out output, target string, measure measureFunc) error {
	srv, err := s.open(cmd.Context(), target)
	if err != nil {
		return err
	}
	r := newRecord()
	var m *report.Measurement
	err = runInteractive(cmd, r.progress, func(ctx context.Context) (err error) {
		m, err = measure(ctx, srv, r)
		return err
	})
	if err != nil {
		return err
	}
	if err := out.print(cmd.OutOrStdout(), m); err != nil {
		return err
	}
	return verdict(m)
}

var (
	errFailed  = errors.New("not every login succeeded")
	errDropped = errors.New("the server dropped connections")
	errNothing = errors.New("nothing was measured")
)

// verdict returns nil if something was measured, nothing failed, and the usage that was asked for is known.
func verdict(m *report.Measurement) error {
	switch {
	case m.Failed > 0:
		return errFailed
	case m.Dropped > 0:
		return errDropped
	case m.Logins == 0:
		return errNothing
	case m.UsageError != "":
		return errors.New(m.UsageError)
	}
	return nil
}
