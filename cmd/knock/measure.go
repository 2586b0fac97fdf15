package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
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

// hopeless reports whether so many have failed, and others of those asked for are still to come. 0 are no end of them.
func (r *record) hopeless(visitors int, asked int64) bool {
	succeeded, failures := r.counts()
	return succeeded == 0 && failures >= hopeless(visitors) && (asked == 0 || failures < asked)
}

// measure lets visitors log in. With ctx the measurement ends early, and those who are not done are not counted.
func measure(ctx context.Context, d *door, p pace, r *record) (*measurement, error) {
	m := &measurement{record: r}
	var err error
	if m.usage, err = startUsage(ctx, d.meter); err != nil {
		return nil, err
	}
	coming, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var gaveUp atomic.Bool
	own := ownCPU()
	r.began = time.Now()
	m.waited = p.knock(coming, func(intended time.Time) bool {
		login := d.login(ctx, intended)
		if login.err != nil && ctx.Err() != nil {
			return false
		}
		r.add(login)
		if r.hopeless(p.visitors, p.count) {
			gaveUp.Store(true)
			giveUp()
		}
		return login.err == nil
	})
	m.elapsed, m.own = time.Since(r.began), ownCPU()-own
	m.gaveUp, m.interrupted = gaveUp.Load(), ctx.Err() != nil
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

// untilInterrupted returns a context that is done at the first Ctrl-C, which ends the measurement; a second one ends
// knock as ever. It is for when all questions are answered: while a person is asked for a password, the first has to.
func untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
