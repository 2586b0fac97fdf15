//go:build !windows

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"foyer/middleware/sshtest"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Environment variables of a foyer under test.
const (
	watchVar  = "TEST_WATCH"  // a file: at each SIGUSR2 the process writes its usage there
	nofileVar = "TEST_NOFILE" // the limit of descriptors of the process
)

// underTest is foyer, with these variables.
func underTest() {
	if path := os.Getenv(watchVar); path != "" {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGUSR2)
		go writeUsage(path, signals)
	}
	if limit, err := strconv.ParseUint(os.Getenv(nofileVar), 10, 32); err == nil {
		var both syscall.Rlimit
		setBoth(&both.Cur, &both.Max, limit)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &both); err != nil {
			panic(err)
		}
	}
	main()
}

// setBoth sets the two limits, which are signed on FreeBSD.
func setBoth[T int64 | uint64](soft, hard *T, limit uint64) { *soft, *hard = T(limit), T(limit) }

// usage is what a process uses at one moment.
type usage struct {
	Seq        int // the number of the signal
	Goroutines int
	Heap       uint64 // in use, after a collection
	Stacks     string

	descriptors int
}

func writeUsage(path string, signals <-chan os.Signal) {
	for seq := 1; ; seq++ {
		<-signals
		runtime.GC()
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		text, err := json.Marshal(usage{Seq: seq, Goroutines: runtime.NumGoroutine(), Heap: mem.HeapAlloc, Stacks: stacks.String()})
		if err == nil && os.WriteFile(path+".new", text, 0o600) == nil {
			_ = os.Rename(path+".new", path)
		}
	}
}

// measure asks the process for its usage.
func (h *target) measure(t testing.TB) (v usage) {
	t.Helper()
	if err := h.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	sshtest.Eventually(t, "the process does not write its usage", func() bool {
		text, err := os.ReadFile(filepath.Join(h.dir, "watch"))
		return err == nil && json.Unmarshal(text, &v) == nil && v.Seq > h.seq
	})
	h.seq = v.Seq
	v.descriptors = h.descriptors(t)
	return v
}

// descriptors counts the open files of the process. A file that closes meanwhile may be counted or not.
func (h *target) descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir(h.proc("fd"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return len(list)
}

func (h *target) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(h.cmd.Process.Pid), name)
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak returns the peak of the resident memory since the last forgetPeak.
func (h *target) peak(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(h.proc("status"))
	if err != nil {
		t.Fatal(err)
	}
	kilobytes, err := strconv.Atoi(peakLine.FindStringSubmatch(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// forgetPeak resets the peak to the current resident memory (proc(5), clear_refs).
func (h *target) forgetPeak(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(h.proc("clear_refs"), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

func (v usage) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB of heap", v.Goroutines, v.descriptors, v.Heap>>10)
}
