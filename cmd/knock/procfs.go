package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"foyer/cmd/cli"
)

// processTree is the meter of a process and all below it.
type processTree struct {
	root int
	proc string // /proc, but in tests

	// clock returns the CPU time of a process, its own alone, to the nanosecond; nil where there are but ticks.
	clock func(pid int) (time.Duration, error)
}

// tick is the unit of times in /proc/PID/stat: Linux shows every program hundredths of a second, however it counts
// itself (USER_HZ, proc_pid_stat(5)).
const tick = 10 * time.Millisecond

// process is what counts here of a process.
type process struct {
	pid, parent int
	own         time.Duration // its CPU time
	waited      time.Duration // that of its children that are gone and were waited for
}

// cpu adds up the tree. A child that its parent has waited for is in the parent's count, with all of its own.
func (t processTree) cpu() (time.Duration, error) {
	tree, err := t.processes()
	var sum time.Duration
	for _, p := range tree {
		sum += p.own + p.waited
	}
	return sum, err
}

// memory adds up the proportional set sizes of the tree, where a page that is shared by n processes counts an nth in
// each (PSS), so that a server that forks is not counted many times over.
func (t processTree) memory() (int64, error) {
	tree, err := t.processes()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, p := range tree {
		size, err := t.pss(p.pid)
		switch {
		case gone(err): // since the list was made
		case errors.Is(err, fs.ErrPermission):
			return 0, cli.With(fmt.Errorf("read the memory of process %d: %w", p.pid, err), "measure as the server's user, or as root")
		case err != nil:
			return 0, err
		}
		sum += size
	}
	if sum == 0 { // its parent has not waited for it yet
		return 0, fmt.Errorf("process %d has ended", t.root)
	}
	return sum, nil
}

// gone reports whether err is of a process that has ended: without its directory, or while a file of it was read.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// hidden reports whether err is of a process that is shown to its user alone: where /proc is mounted with hidepid=1,
// those of others are listed, and cannot be read (proc(5)).
func hidden(err error) bool { return errors.Is(err, fs.ErrPermission) }

// processes returns the root and all below it. The one that is named has to be there.
func (t processTree) processes() (tree []process, err error) {
	entries, err := os.ReadDir(t.proc)
	if err != nil {
		return nil, fmt.Errorf("read the processes: %w", err)
	}
	children := map[int][]process{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		p, err := t.stat(pid)
		switch {
		case gone(err), pid != t.root && hidden(err):
		case err != nil:
			return nil, err
		case pid == t.root:
			tree = append(tree, p)
		default:
			children[p.parent] = append(children[p.parent], p)
		}
	}
	if len(tree) == 0 {
		return nil, fmt.Errorf("there is no process %d", t.root)
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].pid]...)
	}
	return tree, nil
}

func (t processTree) stat(pid int) (process, error) {
	text, err := os.ReadFile(t.file(pid, "stat"))
	if err != nil {
		return process{}, err
	}
	p, err := parseStat(text)
	if err != nil {
		return process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	p.pid = pid
	if t.clock != nil {
		if own, err := t.clock(pid); err == nil {
			p.own = own
		} // else it is gone, and its last ticks are what is known of it
	}
	return p, nil
}

func (t processTree) file(pid int, name string) string {
	return filepath.Join(t.proc, strconv.Itoa(pid), name)
}

// parseStat reads /proc/PID/stat. The second field is the program's name in parentheses, which it chose itself and
// which may hold spaces and parentheses; after it no field does.
func parseStat(text []byte) (p process, err error) {
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const parent, utime, cutime, cstime = 4 - 3, 14 - 3, 16 - 3, 17 - 3 // as proc_pid_stat(5) counts them, without the first two
	if len(fields) <= cstime {
		return p, errors.New("stat has too few fields")
	}
	if p.parent, err = strconv.Atoi(fields[parent]); err != nil {
		return p, err
	}
	if p.own, err = sumTicks(fields[utime:cutime]); err != nil { // and stime
		return p, err
	}
	p.waited, err = sumTicks(fields[cutime : cstime+1])
	return p, err
}

func sumTicks(fields []string) (sum time.Duration, err error) {
	for _, field := range fields {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

func (t processTree) pss(pid int) (int64, error) {
	text, err := os.ReadFile(t.file(pid, "smaps_rollup"))
	if err != nil {
		return 0, err
	}
	return parsePSS(string(text))
}

// parsePSS reads /proc/PID/smaps_rollup. That of a process that has ended and was not waited for is empty.
func parsePSS(text string) (int64, error) {
	for line := range strings.Lines(text) {
		if amount, found := strings.CutPrefix(line, "Pss:"); found {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(amount), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, nil
}
