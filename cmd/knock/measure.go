package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// measurement is a series of logins at one door, and what they cost.
type measurement struct {
	record      *record
	usage       *usage        // of the server, or nil where it was not measured
	lost        error         // why it could not be told in the end, as of a server that has died
	own         time.Duration // the CPU time of knock itself
	elapsed     time.Duration
	waited      int64 // how many found all visitors busy
	gaveUp      bool
	interrupted bool
}

// hopeless is how many logins have to fail, and none succeed, for a measurement to be given up: as many as there are
// visitors, and no fewer than 10.
func hopeless(visitors int) int64 { return int64(max(10, visitors)) }

// knockInHope is [pace.knock] until so many have failed, by what visit adds to the record, and others are still to come.
func (p pace) knockInHope(ctx context.Context, r *record, visit func(time.Time) bool) (waited int64, gaveUp bool) {
	coming, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var lost atomic.Bool
	waited = p.knock(coming, func(intended time.Time) bool {
		entered := visit(intended)
		if succeeded, failures := r.counts(); succeeded == 0 && failures >= hopeless(p.visitors) && (p.count == 0 || failures < p.count) {
			lost.Store(true)
			giveUp()
		}
		return entered
	})
	return waited, lost.Load()
}

// measure lets visitors log in. With ctx the measurement ends early, and those who are not done are not counted.
func measure(ctx context.Context, d *door, p pace, r *record) (*measurement, error) {
	m := &measurement{record: r}
	var err error
	if m.usage, err = startUsage(ctx, d.meter); err != nil {
		return nil, err
	}
	own := ownCPU()
	r.began = time.Now()
	m.waited, m.gaveUp = p.knockInHope(ctx, r, func(intended time.Time) bool {
		login := d.login(ctx, intended)
		if login.err != nil && ctx.Err() != nil {
			return false
		}
		r.add(login)
		return login.err == nil
	})
	m.elapsed, m.own = time.Since(r.began), ownCPU()-own
	m.interrupted = ctx.Err() != nil
	if m.lost = m.usage.stop(context.WithoutCancel(ctx), d.meter); m.lost != nil {
		m.usage = nil
	}
	return m, nil
}

// verdict returns nil where logins were made, all of them succeeded, and their cost is known if it was asked for.
func (m *measurement) verdict() error {
	switch logins, failures := m.record.counts(); {
	case failures > 0:
		return errUnsuccessful
	case logins == 0:
		return errNothing
	}
	return m.lost
}

// leftOut is the note where the server's figures were lost.
func leftOut(lost error) string { return "the server's figures are left out: " + lost.Error() }

// ownCPU returns the CPU time of this process.
func ownCPU() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// attended makes a measurement, and shows what tell says of it meanwhile. The first Ctrl-C ends the measurement; a second
// one ends knock as ever, and so does the first where the measurement is over: to write the report may take for ever. It
// is for when all questions are answered: while a person is asked for a password, the first has to end knock too.
func attended(cmd *cobra.Command, tell func() string, measure func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	defer startProgress(cmd.ErrOrStderr(), tell).stop()
	return measure(ctx)
}
