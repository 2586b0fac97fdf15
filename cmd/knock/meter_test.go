package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"foyer/cmd/knock/cpuclock"
	"foyer/middleware/sshtest"
)

// stat is a /proc/PID/stat with times of its own: utime, stime, cutime and cstime in ticks.
func stat(pid, parent int, name string, times [4]int) string {
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194560 2503 61 0 0 %d %d %d %d 20 0 9 0 13 1268826112 4213 18446744073709551615\n",
		pid, name, parent, times[0], times[1], times[2], times[3])
}

// rollup is a /proc/PID/smaps_rollup.
func rollup(kib int) string {
	return fmt.Sprintf("00400000-7ffd3c5f2000 ---p 00000000 00:00 0          [rollup]\nRss:            %8d kB\n"+
		"Pss:            %8d kB\nPss_Dirty:          1000 kB\nPss_Anon:           2000 kB\n", 2*kib, kib)
}

// proc is a directory like /proc, of files by their path.
func proc(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestProcessTree(t *testing.T) {
	dir := proc(t, map[string]string{
		"1/stat":          stat(1, 0, "init", [4]int{1000, 1000, 1000, 1000}),
		"1/smaps_rollup":  rollup(100_000),
		"20/stat":         stat(20, 1, "sshd", [4]int{1, 2, 30, 40}),
		"20/smaps_rollup": rollup(1000),
		// Its name looks like the rest of the line of another process.
		"30/stat":         stat(30, 20, "evil) S 1 (", [4]int{100, 200, 0, 0}),
		"30/smaps_rollup": rollup(200),
		"10/stat":         stat(10, 30, "a (b) c", [4]int{5000, 0, 0, 0}), // a younger one with a lower number
		"10/smaps_rollup": "",                                             // it has ended, and nobody waited for it yet
		"40/stat":         stat(40, 1, "stranger", [4]int{9, 9, 9, 9}),
		"40/smaps_rollup": rollup(9),
		"50/comm":         "its files are gone already",
		"self/stat":       "no process",
	})
	tree := processTree{root: 20, proc: dir}
	if cpu, err := tree.cpu(); err != nil || cpu != (1+2+30+40+100+200+5000)*10*time.Millisecond {
		t.Errorf("CPU %s, %v", cpu, err)
	}
	if memory, err := tree.memory(); err != nil || memory != 1200<<10 {
		t.Errorf("memory %d, %v", memory, err)
	}
	tree.clock = func(pid int) (time.Duration, error) {
		if pid == 10 {
			return 0, errors.New("it has no clock any more")
		}
		return time.Duration(pid), nil
	}
	if cpu, err := tree.cpu(); err != nil || cpu != 20+30+(30+40+5000)*10*time.Millisecond {
		t.Errorf("CPU by the clock %s, %v", cpu, err)
	}
	if _, err := (processTree{root: 10, proc: dir}).memory(); err == nil || err.Error() != "process 10 has ended" {
		t.Error(err)
	}
	if _, err := (processTree{root: 99, proc: dir}).cpu(); err == nil || err.Error() != "there is no process 99" {
		t.Error(err)
	}
}

func TestParseStatRefuses(t *testing.T) {
	for _, text := range []string{"", "1", "1 (a)", "1 (a) S 1 2 3", stat(1, 1, "a", [4]int{})[:40],
		strings.Replace(stat(1, 2, "a", [4]int{77, 0, 0, 0}), " 77 ", " x ", 1)} {
		if p, err := parseStat([]byte(text)); err == nil {
			t.Errorf("parseStat(%q) = %+v", text, p)
		}
	}
}

// TestLiveProcessTree: a child that has ended stays in the count.
func TestLiveProcessTree(t *testing.T) {
	tree := processTree{root: os.Getpid(), proc: "/proc", clock: cpuclock.Of}
	before, err := tree.cpu()
	sshtest.Need(t, "/proc", "run on Linux", err == nil)
	child := exec.Command("sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo; read x")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	alive, err := tree.cpu()
	if err != nil || alive-before < 50*time.Millisecond {
		t.Errorf("a child that worked cost %s, %v", alive-before, err)
	}
	if held, err := tree.memory(); err != nil || held < 1<<20 {
		t.Errorf("memory %d, %v", held, err)
	}
	_ = in.Close()
	_ = child.Wait()
	if ended, err := tree.cpu(); err != nil || ended < alive-2*tick { // those that are gone are told in ticks
		t.Errorf("%s, and %s after it has ended: %v", alive, ended, err)
	}
}

func TestCgroup(t *testing.T) {
	dir := proc(t, map[string]string{
		"cpu.stat":       "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n",
		"memory.current": "7340032\n",
		"v1/cpu.stat":    "nr_periods 0\n",
	})
	if cpu, err := (cgroup{dir}).cpu(); err != nil || cpu != 1234567*time.Microsecond {
		t.Errorf("CPU %s, %v", cpu, err)
	}
	if memory, err := (cgroup{dir}).memory(); err != nil || memory != 7<<20 {
		t.Errorf("memory %d, %v", memory, err)
	}
	if _, err := (cgroup{filepath.Join(dir, "v1")}).cpu(); err == nil || !contains(err.Error(), "version 2") {
		t.Error(err)
	}
	if memory, err := (cgroup{filepath.Join(dir, "v1")}).memory(); err != nil || memory != -1 {
		t.Errorf("memory %d, %v", memory, err)
	}
}

// TestUnknownMemory: what nobody counts is in no report.
func TestUnknownMemory(t *testing.T) {
	f := new(fake).open(t)
	dir := proc(t, map[string]string{"cpu.stat": "usage_usec 5\n"})
	for _, args := range [][]string{{f.target(), "-n", "1"}, {"hold", "1", f.target(), "--for", "0s"}} {
		got := knock(t, append(args, "--open", "--cgroup", dir)...)
		if got.status != 0 || contains(got.stdout, "server memory") || !contains(got.stdout, "server CPU") {
			t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
		}
	}
}

// script is a meter that says what it is told.
type script struct{ times []time.Duration }

func (s *script) cpu() (time.Duration, error) {
	now := s.times[0]
	if len(s.times) > 1 {
		s.times = s.times[1:]
	}
	return now, nil
}

func (s *script) memory() (int64, error) { return 0, nil }

// TestSettle: what a server still does when its visitors are gone is in the count.
func TestSettle(t *testing.T) {
	const ms = time.Millisecond
	if got, _ := settledCPU(t.Context(), &script{[]time.Duration{5 * ms, 6 * ms, 7 * ms, 7*ms + idle, 100 * ms}}); got != 7*ms+idle {
		t.Errorf("%s", got)
	}
	restless := &script{}
	for i := range 1000 {
		restless.times = append(restless.times, time.Duration(i)*ms)
	}
	if got, _ := settledCPU(t.Context(), restless); got < 2*ms || got > 500*ms {
		t.Errorf("%s", got)
	}
}

// TestServerThatEnds: a measurement of a server that is no more says so.
func TestServerThatEnds(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	f := (&fake{session: simple}).open(t)
	f.accept = nil
	m := processTree{root: child.Process.Pid, proc: "/proc", clock: cpuclock.Of}
	u, err := startUsage(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	if err := u.stop(t.Context(), m); err == nil || err.Error() != "there is no process "+strconv.Itoa(m.root) {
		t.Error(err)
	}
}

// falling is a server whose CPU time is told so.
type falling struct{ told *time.Duration }

func (f falling) cpu() (time.Duration, error) { return *f.told, nil }
func (f falling) memory() (int64, error)      { return 0, nil }

// TestTimeThatFalls: time that went backwards is none, and said to be so.
func TestTimeThatFalls(t *testing.T) {
	told := time.Second
	m := falling{&told}
	for _, after := range []time.Duration{3 * time.Second, 3*time.Second - 1} {
		u, err := startUsage(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		before := told
		told = after
		switch err := u.stop(t.Context(), m); {
		case after < before && (err == nil || !contains(err.Error(), "--cgroup")):
			t.Errorf("from %s to %s: %v", before, after, err)
		case after > before && (err != nil || u.cpu != after-before):
			t.Errorf("from %s to %s: %s, %v", before, after, u.cpu, err)
		}
	}
}

// TestAnothersProcess: whoever names a process that does nothing is asked whether they meant it.
func TestAnothersProcess(t *testing.T) {
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	}()
	got := knock(t, new(fake).open(t).target(), "--open", "-n", "3", "--pid", strconv.Itoa(other.Process.Pid))
	if got.status != 0 || !contains(got.stdout, "used no CPU: is it the server?") {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
}

// TestServerThatDies: what was measured until then is told, and what is missing.
func TestServerThatDies(t *testing.T) {
	for name, args := range map[string][]string{
		"20 logins in":                {"login", "-n", "20"},
		"asked for 200 a second":      {"login", "-n", "20", "--rate", "200"},
		"20 of 20 connections opened": {"hold", "20", "--for", "0s"},
	} {
		t.Run(args[0], func(t *testing.T) {
			child := exec.Command("sleep", "60")
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			die := sync.OnceFunc(func() {
				_ = child.Process.Kill()
				_ = child.Wait()
			})
			t.Cleanup(die)
			f := (&fake{accept: func(net.Conn) bool { die(); return true }}).open(t)
			pid := strconv.Itoa(child.Process.Pid)
			got := knock(t, append(args, f.target(), "--open", "--pid", pid)...)
			if got.status != 1 || !contains(got.stdout, name, "note: the server's figures are left out: there is no process "+pid) {
				t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
			}
			if contains(got.stdout, "server CPU") || contains(got.stdout, "server memory") {
				t.Errorf("figures of nothing:\n%s", got.stdout)
			}
		})
	}
}
