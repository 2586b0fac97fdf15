package main

import (
	"context"
	"time"

	"foyer/cmd/knock/report"
)

// meter reads what a server has used so far.
type meter interface {
	cpu() (time.Duration, error) // user and system time since the server started
	memory() (int64, error)      // bytes that it holds now
}

const (
	// A server is idle if it uses at most idleCPU in idleTime, which is longer than two ticks of the kernel. An idle Go
	// program wakes up now and then.
	idleTime = 30 * time.Millisecond
	idleCPU  = 200 * time.Microsecond
	// maxSettle is how long to wait for a server to become idle.
	maxSettle = time.Second
)

// settledCPU waits until the server is idle and returns its CPU time. A server still works when its clients have left.
func settledCPU(ctx context.Context, m meter) (time.Duration, error) {
	deadline := time.Now().Add(maxSettle)
	before, err := m.cpu()
	for err == nil && time.Now().Before(deadline) && sleep(ctx, idleTime) {
		var now time.Duration
		if now, err = m.cpu(); now >= before && now-before <= idleCPU {
			return now, err
		}
		before = now
	}
	return before, err
}

// usage measures what a server uses between startUsage and stop.
type usage struct {
	meter  meter
	cpu    time.Duration
	memory int64
}

// startUsage returns nil without a meter; stop of nil returns nil.
func startUsage(ctx context.Context, m meter) (*usage, error) {
	if m == nil {
		return nil, nil
	}
	cpu, err := settledCPU(ctx, m)
	if err != nil {
		return nil, err
	}
	memory, err := m.memory()
	return &usage{m, cpu, memory}, err
}

// stop returns what was used for a number of logins, or why that is unknown.
func (u *usage) stop(ctx context.Context, logins int64) (used *report.Usage, problem string) {
	if u == nil {
		return nil, ""
	}
	after, err := u.meter.memory()
	if err != nil {
		return nil, err.Error()
	}
	cpu, err := settledCPU(ctx, u.meter)
	if err != nil {
		return nil, err.Error()
	}
	if cpu < u.cpu {
		return nil, "a child process ended and its parent did not wait for it, so its CPU time is lost"
	}
	used = &report.Usage{CPU: (cpu - u.cpu).Seconds(), MemoryBefore: u.memory, MemoryAfter: after}
	if logins > 0 {
		each := used.CPU * 1e3 / float64(logins)
		used.PerLogin = &each
	}
	return used, ""
}
