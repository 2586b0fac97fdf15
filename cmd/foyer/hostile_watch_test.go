package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
	"time"
)

// Variables that make a foyer under test more than foyer.
const (
	watchVar  = "TEST_WATCH"  // a file: what the process is made of is written there at each SIGUSR1
	nofileVar = "TEST_NOFILE" // a number: how many descriptors the process may have, and no more
)

// underTest is foyer, with a window for who watches it from outside.
func underTest() {
	if path := os.Getenv(watchVar); path != "" {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGUSR1)
		go showWhenAsked(path, asked)
	}
	if limit, err := strconv.ParseUint(os.Getenv(nofileVar), 10, 32); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			panic(err)
		}
	}
	main()
}

// vitals are what a door is made of at one moment.
type vitals struct {
	Seq        int // which answer it is
	Goroutines int
	Heap       uint64 // in use, after a collection
	Stacks     string

	descriptors int
}

func showWhenAsked(path string, asked <-chan os.Signal) {
	for seq := 1; ; seq++ {
		<-asked
		runtime.GC()
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		text, err := json.Marshal(vitals{Seq: seq, Goroutines: runtime.NumGoroutine(), Heap: mem.HeapAlloc, Stacks: stacks.String()})
		if err == nil && os.WriteFile(path+".new", text, 0o600) == nil {
			_ = os.Rename(path+".new", path)
		}
	}
}

// look asks the door for its vitals.
func (h *hall) look(t testing.TB) (v vitals) {
	t.Helper()
	if err := h.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	poll(t, "the door does not say how it is", func() bool {
		text, err := os.ReadFile(filepath.Join(h.dir, "watch"))
		return err == nil && json.Unmarshal(text, &v) == nil && v.Seq > h.seen
	})
	h.seen = v.Seq
	v.descriptors = h.descriptors(t)
	return v
}

// descriptors counts the door's open files. One that closes while they are counted may be missed, or not.
func (h *hall) descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir(h.proc("fd"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return len(list)
}

func (h *hall) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(h.cmd.Process.Pid), name)
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak returns how much memory the door held at most, since the last forgetPeak.
func (h *hall) peak(t testing.TB) int {
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

// forgetPeak makes what the door holds now its peak (proc(5), clear_refs).
func (h *hall) forgetPeak(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(h.proc("clear_refs"), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// cpu returns how long the door has computed so far: the 14th and 15th fields of proc(5)'s stat, in 1/100 s.
func (h *hall) cpu(t testing.TB) time.Duration {
	t.Helper()
	text, err := os.ReadFile(h.proc("stat"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// poll waits until done, and fails the test with what it says where that takes too long.
func poll(t testing.TB, otherwise string, done func() bool) {
	t.Helper()
	if !soon(patient, done) {
		t.Fatal(otherwise)
	}
}

// soon waits until done, and reports whether it was in time.
func soon(limit time.Duration, done func() bool) bool {
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		switch {
		case done():
			return true
		case time.Now().After(deadline):
			return false
		}
	}
}

func (v vitals) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB of heap", v.Goroutines, v.descriptors, v.Heap>>10)
}
