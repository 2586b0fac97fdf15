package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"foyer/cmd/knock/cpuclock"
)

// loginReport is what is used of what knock reports of logins.
type loginReport struct {
	Logins    int64   `json:"logins"`
	Failed    int64   `json:"failed"`
	PerSecond float64 `json:"logins_per_s"`
	Latency   struct {
		Login struct {
			P50 float64 `json:"p50_ms"`
			P99 float64 `json:"p99_ms"`
		} `json:"login"`
	} `json:"latency"`
	Failures []failure `json:"failures"`
	Server   struct {
		PerLogin float64 `json:"cpu_ms_per_login"`
		Memory   struct {
			Peak  int64 `json:"peak_bytes"`
			After int64 `json:"after_bytes"`
		} `json:"memory"`
	} `json:"server"`
}

// holdReport is what is used of what knock reports of connections that were held.
type holdReport struct {
	Opened  int64 `json:"opened"`
	Dropped int64 `json:"dropped"`
	Memory  struct {
		Before int64 `json:"before_bytes"`
		End    int64 `json:"end_bytes"`
	} `json:"memory"`
	Failures []failure `json:"failures"`
}

// each returns how many bytes each of number connections took in the end, when all of them have to be there still.
func (r *holdReport) each(number int) (float64, error) {
	kept := r.Opened - r.Dropped
	if kept < int64(number) {
		return 0, fmt.Errorf("%d of %d connections were opened and kept: %v", kept, number, r.Failures)
	}
	return float64(r.Memory.End-r.Memory.Before) / float64(kept), nil
}

// failure is why logins failed.
type failure struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// knock runs knock at a door and reads its report. Where visitors failed there is a report too.
func (h *house) knock(ctx context.Context, r *running, report any, args ...string) error {
	kex, cipher, hostKey := r.algorithms()
	text, err := output(ctx, nil, h.path("bin", "knock"), append(args, guest+"@"+r.address(), "--json",
		"--pid", strconv.Itoa(r.cmd.Process.Pid), "--kex", kex, "--cipher", cipher, "--hostkey-algorithm", hostKey)...)
	if text == "" && err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), report); err != nil {
		return fmt.Errorf("read knock's report: %w", err)
	}
	return ctx.Err()
}

// access says how knock gets in.
func (h *house) access(method string) []string {
	if method == password {
		return []string{"--password-file", h.path("password")}
	}
	return []string{"--key", h.path("id_ed25519")}
}

// pace is how visitors come.
type pace struct {
	visitors int
	window   time.Duration
	rate     float64 // a second; 0 for as fast as they are let in
	count    int     // 0 for as many as come in the window
}

func (p pace) args() []string {
	args := []string{"--concurrency", strconv.Itoa(p.visitors)}
	if p.rate > 0 {
		args = append(args, "--rate", strconv.FormatFloat(p.rate, 'f', 1, 64))
	}
	if p.count > 0 {
		args = append(args, "--count", strconv.Itoa(p.count))
	}
	if p.window > 0 {
		args = append(args, "--duration", p.window.String())
	}
	return args
}

// visit measures logins at a door.
func (h *house) visit(ctx context.Context, r *running, method string, p pace) (*loginReport, error) {
	report := &loginReport{}
	args := slices.Concat([]string{"login", "--expect", h.path("message")}, p.args(), h.access(method))
	if err := h.knock(ctx, r, report, args...); err != nil {
		return nil, err
	}
	if report.Logins == 0 {
		return nil, r.unwell(fmt.Errorf("no login by %s succeeded: %v", method, report.Failures))
	}
	return report, nil
}

// measure is one window at a door.
func (h *house) measure(ctx context.Context, r *running, v *visitor, p pace) (window, error) {
	if p.visitors = r.limit(p.visitors, r.visitors); r.name == floor {
		return playFloor(ctx, r, v, p)
	}
	report, err := h.visit(ctx, r, v.method, p)
	if err != nil {
		return window{}, err
	}
	return window{
		Logins: report.Logins, Failed: report.Failed, PerSecond: report.PerSecond,
		CPU: report.Server.PerLogin * 1e3, P50: report.Latency.Login.P50, P99: report.Latency.Login.P99,
	}, nil
}

// limit keeps a number below what the door takes.
func (d door) limit(number, most int) int {
	if most > 0 {
		return min(number, most)
	}
	return number
}

// playFloor is one window at the floor, which is no SSH server that knock could knock on.
func playFloor(ctx context.Context, r *running, v *visitor, p pace) (window, error) {
	from, err := cpuclock.Of(r.cmd.Process.Pid)
	if err != nil {
		return window{}, err
	}
	begun := time.Now()
	took, failed := v.playFor(ctx, r, p)
	seconds := time.Since(begun).Seconds()
	until, err := cpuclock.Of(r.cmd.Process.Pid)
	if err != nil {
		return window{}, err
	}
	if len(took) == 0 {
		return window{}, r.unwell(fmt.Errorf("it was played in vain %d times", failed))
	}
	slices.Sort(took)
	logins := float64(len(took))
	return window{
		Logins: int64(len(took)), Failed: failed, PerSecond: logins / seconds,
		CPU: float64((until - from).Microseconds()) / logins,
		P50: took[len(took)/2], P99: took[len(took)*99/100],
	}, ctx.Err()
}

// playFor plays logins for as long as the window is, and returns how many milliseconds each took.
func (v *visitor) playFor(ctx context.Context, r *running, p pace) (took []float64, failed int64) {
	ctx, cancel := context.WithTimeout(ctx, p.window)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range p.visitors {
		all.Go(func() {
			for ctx.Err() == nil {
				begun := time.Now()
				err := v.login(context.WithoutCancel(ctx), r.door, r.address())
				mu.Lock()
				if err != nil {
					failed++
				} else {
					took = append(took, float64(time.Since(begun).Microseconds())/1e3)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return took, failed
}
