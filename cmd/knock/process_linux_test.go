package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"foyer/middleware/sshtest"
)

// stat returns a /proc/PID/stat with these utime, stime, cutime and cstime in ticks.
func stat(pid, parent int, name string, times [4]int) string {
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194560 2503 61 0 0 %d %d %d %d 20 0 9 0 13 1268826112 4213 "+
		"18446744073709551615 1 1 1 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		pid, name, parent, times[0], times[1], times[2], times[3])
}

func rollup(kib int) string {
	return fmt.Sprintf("00400000-7ffd3c5f2000 ---p 00000000 00:00 0          [rollup]\nRss:            %8d kB\n"+
		"Pss:            %8d kB\n", 2*kib, kib)
}

// proc makes a directory like /proc.
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

func TestProcessMeter(t *testing.T) {
	dir := proc(t, map[string]string{
		"1/stat":          stat(1, 0, "init", [4]int{1000, 1000, 1000, 1000}),
		"1/smaps_rollup":  rollup(100_000),
		"20/stat":         stat(20, 1, "sshd", [4]int{1, 2, 30, 40}),
		"20/smaps_rollup": rollup(1000),
		"30/stat":         stat(30, 20, "evil) S 1 (", [4]int{100, 200, 0, 0}), // a program can choose its name
		"30/smaps_rollup": rollup(200),
		"10/stat":         stat(10, 30, "a (b) c", [4]int{5000, 0, 0, 0}), // a child with a lower number
		"10/smaps_rollup": "",                                             // a zombie
		"40/stat":         stat(40, 1, "other", [4]int{9, 9, 9, 9}),
		"40/smaps_rollup": rollup(9),
		"50/comm":         "this process has just ended",
	})
	m := processMeter{root: 20, proc: dir}
	if cpu, err := m.cpu(); err != nil || cpu != (1+2+30+40+100+200+5000)*10*time.Millisecond {
		t.Errorf("CPU %s, %v", cpu, err)
	}
	if memory, err := m.memory(); err != nil || memory != 1200<<10 {
		t.Errorf("memory %d, %v", memory, err)
	}
	m.clock = func(pid int) (time.Duration, error) {
		if pid == 10 {
			return 0, errors.New("it has ended")
		}
		return time.Duration(pid), nil
	}
	if cpu, err := m.cpu(); err != nil || cpu != 20+30+(30+40+5000)*10*time.Millisecond {
		t.Errorf("CPU by the clock %s, %v", cpu, err)
	}
	if _, err := (processMeter{root: 10, proc: dir}).memory(); err == nil || err.Error() != "process 10 has ended" {
		t.Error(err)
	}
	if _, err := (processMeter{root: 99, proc: dir}).cpu(); err == nil || err.Error() != "there is no process 99" {
		t.Error(err)
	}
}

// The CPU time of a child is in the sum while it runs, and after it has ended.
func TestLiveProcess(t *testing.T) {
	m := newProcessMeter(os.Getpid())
	before, err := m.cpu()
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
	running, err := m.cpu()
	if err != nil || running <= before {
		t.Errorf("%s, and %s with a child: %v", before, running, err)
	}
	if held, err := m.memory(); err != nil || held < 1<<20 {
		t.Errorf("memory %d, %v", held, err)
	}
	_ = in.Close()
	_ = child.Wait()
	if ended, err := m.cpu(); err != nil || ended < running-2*tick { // an ended child is counted in ticks
		t.Errorf("%s, and %s after the child has ended: %v", running, ended, err)
	}
	if _, err := cpuClock(1 << 22); err == nil {
		t.Error("a process that does not exist has a clock")
	}
}

// dropCapabilities takes from this thread what root may do beyond other users.
func dropCapabilities(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before [2]unix.CapUserData
	if err := unix.Capget(&header, &before[0]); err != nil {
		t.Fatal(err)
	}
	none := before
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&header, &none[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if unix.Capset(&header, &before[0]) == nil {
			runtime.UnlockOSThread() // or the thread ends with the test
		}
	})
}

// Processes of others that hidepid=1 hides are left out, except the one that was asked for.
func TestHiddenProcesses(t *testing.T) {
	dir := proc(t, map[string]string{
		"20/stat": stat(20, 1, "sshd", [4]int{1, 2, 0, 0}),
		"30/stat": stat(30, 20, "session", [4]int{4, 0, 0, 0}),
		"40/stat": stat(40, 1, "hidden", [4]int{100, 0, 0, 0}),
	})
	hidden := filepath.Join(dir, "40")
	if err := os.Chmod(hidden, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(hidden, 0o700) }) // or it could not be removed
	dropCapabilities(t)
	if cpu, err := (processMeter{root: 20, proc: dir}).cpu(); err != nil || cpu != 70*time.Millisecond {
		t.Errorf("CPU %s, %v", cpu, err)
	}
	if cpu, err := (processMeter{root: 40, proc: dir}).cpu(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("CPU %s, %v", cpu, err)
	}
}
