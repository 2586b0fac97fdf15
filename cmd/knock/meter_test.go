package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// readings is a meter that returns one reading after the other, and then that the server has ended.
type readings struct{ cpus []time.Duration }

func (r *readings) cpu() (time.Duration, error) {
	if len(r.cpus) == 0 {
		return 0, fs.ErrNotExist
	}
	now := r.cpus[0]
	r.cpus = r.cpus[1:]
	return now, nil
}

func (r *readings) memory() (int64, error) { return 0, nil }

// settledCPU waits until the server uses almost no CPU time.
func TestSettledCPU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		got, err := settledCPU(t.Context(), &readings{[]time.Duration{5 * ms, 6 * ms, 7 * ms, 7*ms + idleCPU, 100 * ms}})
		if got != 7*ms+idleCPU || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		busy := &readings{}
		for i := range 1000 {
			busy.cpus = append(busy.cpus, time.Duration(i)*ms)
		}
		start := time.Now()
		if _, err := settledCPU(t.Context(), busy); err != nil || time.Since(start) > maxSettle+idleTime {
			t.Errorf("it waited %s, %v", time.Since(start), err)
		}
		if _, err := settledCPU(t.Context(), &readings{[]time.Duration{5 * ms, 9 * ms}}); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
}

// A CPU time that went backwards is reported as a problem, not as a figure.
func TestCPUTimeFalls(t *testing.T) {
	const second = time.Second
	for after, fails := range map[time.Duration]bool{3 * second: false, second - 1: true} {
		u, err := startUsage(t.Context(), &readings{[]time.Duration{second, second, after, after}})
		if err != nil {
			t.Fatal(err)
		}
		used, problem := u.stop(t.Context(), 4)
		if fails && (used != nil || problem == "") || !fails && (problem != "" || used.CPU != 2 || *used.PerLogin != 500) {
			t.Errorf("from %s to %s: %+v, %q", second, after, used, problem)
		}
	}
}

// The report of a server that ended has the logins, and says what is missing.
func TestServerEnds(t *testing.T) {
	for want, args := range map[string][]string{
		"20 logins in":          {"-n", "20"},
		"20 connections opened": {"hold", "20", "--for", "0s"},
	} {
		t.Run(want, func(t *testing.T) {
			child := exec.Command("sleep", "60")
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			end := sync.OnceFunc(func() {
				_ = child.Process.Kill()
				_ = child.Wait()
			})
			t.Cleanup(end)
			var connections int
			var mu sync.Mutex
			f := (&fake{accept: func(net.Conn) bool {
				mu.Lock()
				defer mu.Unlock()
				if connections++; connections > 5 {
					end()
				}
				return true
			}}).open(t)
			pid := strconv.Itoa(child.Process.Pid)
			got := knock(t, append(args, f.target(), "--open", "--pid", pid)...)
			got.check(t, 1, want, "note: CPU and memory of the server are missing: there is no process "+pid)
		})
	}
}

// The server and knock are the same process here.
func TestUsage(t *testing.T) {
	m := knockJSON(t, 0, new(fake).open(t).target(), "--open", "-n", "100", "--pid", strconv.Itoa(os.Getpid()))
	u := m.Usage
	if u == nil || u.CPU <= 0 || *u.PerLogin != u.CPU*1e3/100 || u.MemoryBefore < 1<<20 || u.MemoryAfter < 1<<20 {
		t.Errorf("%+v", u)
	}
}
