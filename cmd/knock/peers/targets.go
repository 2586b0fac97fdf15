package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
)

// target is a figure that foyer is held to besides those of the peers' table.
type target struct {
	Name  string `json:"name"`
	Aim   string `json:"aim"`
	Found string `json:"found"`
}

func (r *report) targetTable(w *strings.Builder) {
	if len(r.Targets) == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "\n**Under load**\n\n")
	row(w, "what", "aim", "found")
	row(w, "---", "---", "---")
	for _, t := range r.Targets {
		row(w, t.Name, t.Aim, t.Found)
	}
}

// targets measures what only foyer is asked for, one after the other.
func (b *bench) targets(ctx context.Context) error {
	for _, step := range []func(context.Context) error{b.tail, b.openLoop, b.crowd, b.rush, b.manyUsers} {
		if err := step(ctx); err != nil {
			return err
		}
		b.tell("%s", b.report.Targets[len(b.report.Targets)-1].Name)
	}
	return nil
}

func (b *bench) found(name, aim, format string, args ...any) {
	b.report.Targets = append(b.report.Targets, target{name, aim, fmt.Sprintf(format, args...)})
}

// with starts a door, uses it and ends it.
func (b *bench) with(ctx context.Context, d door, use func(*running) error) error {
	defer b.close()
	if err := b.open(ctx, d); err != nil {
		return err
	}
	return use(b.doors[0])
}

// race measures doors in rounds, as [bench.rounds] does, by one method. It returns each door's windows.
func (b *bench) race(ctx context.Context, contenders []door, method string, p pace) ([][]window, error) {
	defer b.close()
	if err := b.open(ctx, contenders...); err != nil {
		return nil, err
	}
	return b.lap(ctx, method, p)
}

// lap measures all doors that are running.
func (b *bench) lap(ctx context.Context, method string, p pace) ([][]window, error) {
	windows := make([][]window, len(b.doors))
	for round := range b.plan.rounds + 1 {
		for _, i := range rand.Perm(len(b.doors)) {
			w, err := b.turn(ctx, round, b.doors[i], method, p)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				windows[i] = append(windows[i], w)
			}
		}
	}
	return windows, nil
}

// named returns doors of THE LIST.
func named(names ...string) (found []door) {
	for _, name := range names {
		for _, d := range doors() {
			if d.name == name {
				found = append(found, d)
			}
		}
	}
	return found
}

// tail compares the slowest logins with the bare library's, and what each costs.
func (b *bench) tail(ctx context.Context) error {
	const many = 64
	windows, err := b.race(ctx, named(itself, "bare"), publickey, pace{visitors: many, window: 2 * b.plan.window})
	if err != nil {
		return err
	}
	foyers, bares := windows[0], windows[1]
	b.found(fmt.Sprintf("CPU of key logins, %d at a time, to the bare library's", many), "at most 1.1", "%s", quartilesOf(ratios(foyers, bares)))
	var of []float64
	for i := range foyers {
		of = append(of, foyers[i].P99/bares[i].P99)
	}
	b.found(fmt.Sprintf("p99 of key logins, %d at a time, to the bare library's", many), "at most 1",
		"%s; %s to %s", quartilesOf(of), ms(quartilesOf(over(foyers, p99)).Median), ms(quartilesOf(over(bares, p99)).Median))
	return nil
}

// most returns how many key logins a second a door serves.
func (b *bench) most(ctx context.Context, r *running) (float64, error) {
	closed, err := b.house.visit(ctx, r, publickey, pace{visitors: b.plan.visitors, window: 5 * b.plan.window})
	if err != nil {
		return 0, err
	}
	return closed.PerSecond, nil
}

// openLoop lets visitors come at 70 % of the rate at which they could be served, whoever is still there.
func (b *bench) openLoop(ctx context.Context) error {
	return b.with(ctx, named(itself)[0], func(r *running) error {
		most, err := b.most(ctx, r)
		if err != nil {
			return err
		}
		rate := 0.7 * most
		open, err := b.house.visit(ctx, r, publickey, pace{visitors: 1000, window: 10 * b.plan.window, rate: rate})
		if err != nil {
			return err
		}
		latency := open.Latency.Login
		b.found(fmt.Sprintf("p99 to p50 of key logins at %.0f a second, 70 %% of the most", rate), "under 5",
			"%.1f: %s to %s, %d failed", latency.P99/latency.P50, ms(latency.P99), ms(latency.P50), open.Failed)
		return nil
	})
}

// crowd is 5,000 visitors within ten seconds. Those who are not served are told so.
func (b *bench) crowd(ctx context.Context) error {
	const visitors, seconds = 5000, 10
	return b.with(ctx, named(itself)[0], func(r *running) error {
		came, err := b.house.visit(ctx, r, publickey, pace{visitors: visitors, count: visitors, rate: visitors / seconds})
		if err != nil {
			return err
		}
		mute := mute(came)
		memory := came.Server.Memory
		b.found("5,000 visitors in 10 s", "all served or refused in words, under 300 MiB",
			"%d served, %d refused in words, %d neither %v; %s at most, %s afterwards", came.Logins, came.Failed-mute, mute,
			came.Failures, size(float64(memory.Peak)), size(float64(memory.After)))
		return nil
	})
}

// rush is twice as many visitors, for a while, as could be served.
func (b *bench) rush(ctx context.Context) error {
	return b.with(ctx, named(itself)[0], func(r *running) error {
		most, err := b.most(ctx, r)
		if err != nil {
			return err
		}
		rate := 2 * most
		count := int(rate * 5 * b.plan.window.Seconds())
		came, err := b.house.visit(ctx, r, publickey, pace{visitors: count, count: count, rate: rate})
		if err != nil {
			return err
		}
		b.found(fmt.Sprintf("key logins at %.0f a second, twice the most", rate), "as many served, the others refused in words",
			"%.0f %% of the most served, %.1f %% of the others refused in words",
			100*came.PerSecond/most, 100*(1-float64(mute(came))/float64(max(came.Failed, 1))))
		return nil
	})
}

// mute returns how many were neither served nor told why.
func mute(came *loginReport) (n int64) {
	for _, failure := range came.Failures {
		if !strings.HasPrefix(failure.Reason, "the server said: ") {
			n += failure.Count
		}
	}
	return n
}

// manyUsers compares doors that know few and many. The first two know the same, and show the noise.
func (b *bench) manyUsers(ctx context.Context) error {
	var contenders []door
	for _, size := range []struct {
		name        string
		users, keys int
	}{
		{"10 users", 10, 1}, {"10 users again", 10, 1}, {"100 users", 100, 1}, {"1,000 users", 1000, 1},
		{"10,000 key files", 10, 10000},
	} {
		flags, err := b.house.people(size.users, size.keys)
		if err != nil {
			return err
		}
		contenders = append(contenders, door{name: size.name, command: foyer(flags...)})
	}
	for _, method := range methods() {
		windows, err := b.race(ctx, contenders, method, pace{visitors: b.plan.visitors, window: b.plan.window})
		if err != nil {
			return err
		}
		for i := 1; i < len(windows); i++ {
			b.found(fmt.Sprintf("CPU by %s with %s, to %s", method, contenders[i].name, contenders[0].name), "1, but for noise",
				"%s", quartilesOf(ratios(windows[i], windows[0])))
		}
	}
	return nil
}

// people makes files with many users, the one who comes last among them, and returns foyer's flags for them.
func (h *house) people(users, keys int) (flags []string, err error) {
	dir := fmt.Sprintf("people/%d-%d", users, keys)
	one, err := os.ReadFile(h.path("foyer", "ssh-passwords"))
	if err != nil {
		return nil, err
	}
	_, hash, found := strings.Cut(string(one), guest+":")
	if !found {
		return nil, errors.New("there is no guest in the password file")
	}
	hash, _, _ = strings.Cut(hash, "\n")
	var file strings.Builder
	for i := range users - 1 {
		_, _ = fmt.Fprintf(&file, "user%d:%s\n", i, hash)
	}
	_, _ = fmt.Fprintf(&file, "%s:%s\n", guest, hash)
	if err := h.write(dir+"/ssh-passwords", []byte(file.String()), 0o600); err != nil {
		return nil, err
	}
	key, err := os.ReadFile(h.path("authorized_keys"))
	if err != nil {
		return nil, err
	}
	name := guest
	for i := range keys {
		if err := h.write(dir+"/authorized_keys.d/"+name, key, 0o600); err != nil {
			return nil, err
		}
		name = fmt.Sprintf("user%d", i)
	}
	return usersIn(h.path(dir)), nil
}
