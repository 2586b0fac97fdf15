package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"foyer/cmd/cli"
)

// meter reads what a server has used so far.
type meter interface {
	cpu() (time.Duration, error) // user and system time since the server started
	memory() (int64, error)      // bytes that it holds now, or -1 where nobody counts them
}

// cgroup is the meter of a control group of version 2. It misses nothing and counts microseconds, where a process tree
// misses children whose parent left without them, and counts those that are gone in hundredths of a second.
type cgroup struct{ dir string }

func (c cgroup) cpu() (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(c.dir, "cpu.stat"))
	if err != nil {
		return 0, cli.With(fmt.Errorf("read the cgroup's CPU time: %w", err), "name one of cgroup version 2, such as /sys/fs/cgroup/system.slice/foyer.service")
	}
	for line := range strings.Lines(string(text)) {
		if digits, found := strings.CutPrefix(line, "usage_usec "); found {
			microseconds, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			return time.Duration(microseconds) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("there is no usage_usec in %s/cpu.stat: is this a cgroup of version 2?", c.dir)
}

// memory is unknown where the group has no memory controller, which is no error.
func (c cgroup) memory() (int64, error) {
	text, err := os.ReadFile(filepath.Join(c.dir, "memory.current"))
	if os.IsNotExist(err) {
		return -1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the cgroup's memory: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

const (
	// still is how long a server's CPU time has to stand still for its work to be taken to be done: two ticks of what
	// the kernel counts it in, and some. To be idle takes a little too: a Go program's monitor wakes up now and then.
	still = 30 * time.Millisecond
	idle  = 200 * time.Microsecond
	// maxSettle is how long that is waited for. A server that works without visitors is never done.
	maxSettle = time.Second
)

// settledCPU returns the CPU time of a server once it has cleaned up after its visitors, who are gone before it is
// done with them.
func settledCPU(ctx context.Context, m meter) (time.Duration, error) {
	deadline := time.Now().Add(maxSettle)
	for before := time.Duration(-1); ; {
		now, err := m.cpu()
		if err != nil || before >= 0 && now >= before && now-before <= idle || time.Now().After(deadline) || !sleep(ctx, still) {
			return now, err
		}
		before = now
	}
}

// usage is what a server used during a measurement.
type usage struct {
	cpu     time.Duration
	memory  memory
	sampler *sampler
	from    time.Duration
}

// memory is what a server held, in bytes.
type memory struct {
	Before int64 `json:"before_bytes"`
	Peak   int64 `json:"peak_bytes"` // the most of all that was seen, once a second
	After  int64 `json:"after_bytes"`
}

// startUsage begins a measurement; without a meter it returns nil, whose stop is fine.
func startUsage(ctx context.Context, m meter) (*usage, error) {
	if m == nil {
		return nil, nil
	}
	from, err := settledCPU(ctx, m)
	if err != nil {
		return nil, err
	}
	before, err := m.memory()
	if err != nil {
		return nil, err
	}
	return &usage{from: from, memory: memory{Before: before}, sampler: watch(m, time.Second)}, nil
}

// stop ends the measurement once the server has settled.
func (u *usage) stop(ctx context.Context, m meter) error {
	if u == nil {
		return nil
	}
	peak := u.sampler.stop()
	cpu, err := settledCPU(ctx, m)
	if err != nil {
		return err
	}
	if u.cpu, err = spent(u.from, cpu); err != nil {
		return err
	}
	if u.memory.After, err = m.memory(); err != nil {
		return err
	}
	u.memory.Peak = max(peak, u.memory.Before, u.memory.After)
	return nil
}

// spent returns the CPU time between two looks. It is an error where that went backwards: a parent that ignores its
// children takes their time with it.
func spent(from, to time.Duration) (time.Duration, error) {
	if to < from {
		return 0, errors.New("processes have left that nobody counts: measure a --cgroup instead")
	}
	return to - from, nil
}

// sampler looks at a server's memory again and again.
type sampler struct {
	done chan struct{}
	over sync.WaitGroup
	peak int64
}

func watch(m meter, interval time.Duration) *sampler {
	s := &sampler{done: make(chan struct{}), peak: -1}
	s.over.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				if held, err := m.memory(); err == nil {
					s.peak = max(s.peak, held)
				}
			case <-s.done:
				return
			}
		}
	})
	return s
}

func (s *sampler) stop() (peak int64) {
	close(s.done)
	s.over.Wait()
	return s.peak
}
