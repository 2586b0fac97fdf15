package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"foyer/cmd/knock/report"
)

// comparison measures servers in turn, in many rounds of short windows. A disturbance of the machine that lasts longer
// than a round affects all servers, so the ratios within a round are reliable even if the figures are not.
type comparison struct {
	servers []*server
	window  time.Duration
	rounds  int
	report  *report.Compare
	status  atomic.Value // a string: what is measured now
}

func newComparison(servers []*server, concurrency, rounds int, window time.Duration) *comparison {
	c := &comparison{servers: servers, window: window, rounds: rounds}
	c.status.Store("")
	c.report = &report.Compare{Concurrency: concurrency, Window: window.Seconds()}
	for _, srv := range servers {
		c.report.Servers = append(c.report.Servers, report.NewCompared(srv.name, srv.concurrency))
	}
	return c
}

// run measures the rounds after one for warming up. When ctx is done, or with an error, it ends and keeps the rounds
// that are complete.
func (c *comparison) run(ctx context.Context) error {
	for round := range c.rounds + 1 {
		results, err := c.round(ctx, round)
		if c.report.Interrupted = ctx.Err() != nil; c.report.Interrupted {
			return nil
		}
		if err != nil {
			return err
		}
		if round > 0 {
			c.report.Add(results)
		}
	}
	return nil
}

// round measures all servers, in a random order.
func (c *comparison) round(ctx context.Context, round int) ([]report.Round, error) {
	results := make([]report.Round, len(c.servers))
	for _, i := range rand.Perm(len(c.servers)) {
		srv := c.servers[i]
		c.status.Store(fmt.Sprintf("%s of %d: %s", roundName(round), c.rounds, srv.name))
		m, err := measureLogins(ctx, srv, load{concurrency: srv.concurrency, duration: c.window}, newRecord())
		if err == nil {
			results[i], err = report.RoundOf(m)
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("server %s, %s: %w", srv.name, roundName(round), err)
		}
		c.report.Servers[i].Server = m.Server
	}
	return results, nil
}

func roundName(round int) string {
	if round == 0 {
		return "warm-up round"
	}
	return fmt.Sprintf("round %d", round)
}
