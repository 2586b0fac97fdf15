package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"foyer/cmd/knock/peers/turns"
)

// bench is a measurement of all doors.
type bench struct {
	plan   *plan
	house  *house
	stderr io.Writer
	logins turns.Scripts // recorded at foyer, for the floor
	doors  []*running    // are running now
	report *report
}

func newBench(p *plan, h *house, stderr io.Writer) *bench {
	return &bench{plan: p, house: h, stderr: stderr, report: newReport(p)}
}

func (h *house) visitor(method string, logins turns.Scripts) *visitor {
	return &visitor{house: h, method: method, logins: logins}
}

// close ends all doors.
func (b *bench) close() {
	for _, r := range b.doors {
		r.stop()
	}
	b.doors = nil
}

func (b *bench) tell(format string, args ...any) { _, _ = fmt.Fprintf(b.stderr, format+"\n", args...) }

// run measures first what each door is like by itself, and then all of them side by side.
func (b *bench) run(ctx context.Context, chosen []door) error {
	b.tell("building")
	if err := b.house.build(ctx); err != nil {
		return err
	}
	b.report.Primitives = measurePrimitives()
	b.survey(ctx, chosen)
	if err := b.inspect(ctx); err != nil {
		return err
	}
	if err := b.open(ctx, b.report.inspected()...); err != nil {
		return err
	}
	return b.rounds(ctx)
}

// survey takes the doors that can run here into the report. One that is missing is skipped by name.
func (b *bench) survey(ctx context.Context, chosen []door) {
	for _, d := range chosen {
		if d.prepare != nil {
			if err := d.prepare(ctx, b.house); err != nil {
				b.tell("%s is skipped: %s (%v)", d.name, d.remedy, err)
				b.report.Skipped = append(b.report.Skipped, skipped{d.name, d.remedy})
				continue
			}
		}
		b.report.Doors = append(b.report.Doors, &doorReport{
			Name: d.name, About: d.about, Rival: d.rival(), Compat: d.compat,
			Visitors: d.limit(b.plan.visitors, d.visitors), Version: d.version(ctx, b.house), door: d,
			Logins: map[string]*figures{}, Trips: map[string]trips{},
		})
	}
}

// inspect finds out what each door is like by itself: it starts all of them, one after the other, and again, for how
// long they take. A peer that does not work here is left out.
func (b *bench) inspect(ctx context.Context) error {
	took := map[string][]float64{}
	for round := range b.plan.starts {
		var working []*doorReport
		for _, entry := range b.report.Doors {
			first, err := b.visitOnce(ctx, entry, round)
			if err != nil && (!entry.door.peer() || ctx.Err() != nil) {
				return err
			}
			if err != nil {
				b.tell("%s is left out: %v", entry.Name, err)
				b.report.Skipped = append(b.report.Skipped, skipped{entry.Name, "it does not work here: " + err.Error()})
				continue
			}
			took[entry.Name] = append(took[entry.Name], first.Seconds()*1e3)
			entry.Start = quartilesOf(took[entry.Name])
			working = append(working, entry)
		}
		b.report.Doors = working
		b.tell("start %d of %d", round+1, b.plan.starts)
	}
	return nil
}

// visitOnce starts a door and returns how long it took until somebody was in. In two of the rounds the memory is
// measured, too, since a process that has served many has room for more.
func (b *bench) visitOnce(ctx context.Context, entry *doorReport, round int) (first time.Duration, err error) {
	r, err := b.house.start(ctx, entry.door)
	if err != nil {
		return 0, err
	}
	defer r.stop()
	if first, err = r.answers(ctx, b.house.visitor(publickey, b.logins)); err != nil || r.name == floor {
		return first, err
	}
	switch round {
	case 0:
		entry.Held, entry.Idle, err = b.hold(ctx, r, "hold", b.plan.held, b.house.access(publickey)...)
		err = errors.Join(err, b.count(ctx, r, entry))
	case 1: // the last that this process sees of us: foyer refuses for a while who wastes its time like this
		entry.Silent, _, err = b.hold(ctx, r, "preauth", r.limit(b.plan.held, r.strangers))
	}
	return first, err
}

// hold holds connections, and returns how many bytes each takes, and how many the door took without. Before either is
// looked at, the door has a rest: some servers clear away by then what their start, or the logins, left.
func (b *bench) hold(
	ctx context.Context, r *running, mode string, number int, access ...string,
) (each, idle float64, err error) {
	select {
	case <-time.After(b.plan.rest):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	report := &holdReport{}
	args := append([]string{mode, strconv.Itoa(number), "--for", b.plan.rest.String(),
		"--concurrency", strconv.Itoa(r.limit(b.plan.visitors, r.visitors))}, access...)
	if err := b.house.knock(ctx, r, report, args...); err != nil {
		return 0, 0, err
	}
	if each, err = report.each(number); err != nil {
		return 0, 0, r.unwell(fmt.Errorf("%s: %w", mode, err))
	}
	return each, float64(report.Memory.Before), nil
}

// count counts round trips. What foyer and its visitors send is recorded for the floor.
func (b *bench) count(ctx context.Context, r *running, entry *doorReport) error {
	scripts := turns.Scripts{}
	for _, method := range methods() {
		trips, script, err := b.house.visitor(method, b.logins).count(ctx, r)
		if err != nil {
			return r.unwell(fmt.Errorf("count the round trips of a login by %s: %w", method, err))
		}
		entry.Trips[method], scripts[method] = trips, script
	}
	if r.name != itself {
		return nil
	}
	b.logins = scripts
	return scripts.Write(b.house.dir)
}

// open starts doors and waits for one login at each, by each method.
func (b *bench) open(ctx context.Context, chosen ...door) error {
	for _, d := range chosen {
		r, err := b.house.start(ctx, d)
		if err != nil {
			return err
		}
		b.doors = append(b.doors, r)
		for _, method := range methods() {
			if _, err := r.answers(ctx, b.house.visitor(method, b.logins)); err != nil {
				return fmt.Errorf("by %s: %w", method, err)
			}
		}
	}
	return nil
}

// rounds measures all doors in every round. The first round fills caches and does not count, nor does one that an
// error ends.
func (b *bench) rounds(ctx context.Context) error {
	defer b.report.conclude()
	for round := range b.plan.rounds + 1 {
		begun := time.Now()
		windows, err := b.round(ctx, round)
		if err != nil {
			return err
		}
		if round > 0 {
			b.report.complete(round, windows)
		}
		b.tell("round %d of %d: %s", round, b.plan.rounds, time.Since(begun).Round(time.Second/10))
	}
	return nil
}

// round measures all doors, in an order of its own, and returns each door's windows by method.
func (b *bench) round(ctx context.Context, round int) ([]map[string]window, error) {
	windows := make([]map[string]window, len(b.doors))
	for _, i := range rand.Perm(len(b.doors)) {
		windows[i] = map[string]window{}
		for _, method := range methods() {
			w, err := b.turn(ctx, round, b.doors[i], method, pace{visitors: b.plan.visitors, window: b.plan.window})
			if err != nil {
				return nil, err
			}
			windows[i][method] = w
		}
	}
	return windows, nil
}

// turn is one door's in a round.
func (b *bench) turn(ctx context.Context, round int, r *running, method string, p pace) (window, error) {
	w, err := b.house.measure(ctx, r, b.house.visitor(method, b.logins), p)
	w.Round = round
	return w, err
}
