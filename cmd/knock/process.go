package main

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"foyer/cmd/cli"
)

// processMeter measures a process and its descendants.
type processMeter struct {
	root  int
	proc  string                               // /proc, except in tests
	clock func(pid int) (time.Duration, error) // a process's CPU time, or nil to use only /proc
}

func newProcessMeter(pid int) meter { return processMeter{root: pid, proc: "/proc", clock: cpuClock} }

// process is a process and its numbers.
type process struct {
	procfs.Proc
	stat procfs.ProcStat
}

// tick is the unit of times in /proc/PID/stat (USER_HZ).
const tick = 10 * time.Millisecond

// cpu adds up the processes. A child that has ended is in the sum of the parent that waited for it, in ticks.
func (m processMeter) cpu() (sum time.Duration, err error) {
	tree, err := m.processes()
	for _, p := range tree {
		own := time.Duration(p.stat.UTime+p.stat.STime) * tick
		if m.clock != nil {
			if exact, err := m.clock(p.PID); err == nil { // or it has ended
				own = exact
			}
		}
		sum += own + time.Duration(p.stat.CUTime+p.stat.CSTime)*tick
	}
	return sum, err
}

// memory adds up the proportional set sizes (PSS) of the processes: a page that n processes share counts 1/n in each,
// so a server that forks is not counted many times.
func (m processMeter) memory() (int64, error) {
	tree, err := m.processes()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, p := range tree {
		size, err := p.pss()
		switch {
		case ended(err):
		case err != nil:
			return 0, cli.With(err, "run knock as the server's user or as root")
		}
		sum += size
	}
	if sum == 0 { // a zombie
		return 0, fmt.Errorf("process %d has ended", m.root)
	}
	return sum, nil
}

// ended reports whether err is that of a process that has ended.
func ended(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// processes returns the root and its descendants. It leaves out processes that it may not see (hidepid=1, proc(5)),
// except the root.
func (m processMeter) processes() (tree []process, err error) {
	proc, err := procfs.NewFS(m.proc)
	if err != nil {
		return nil, err
	}
	all, err := proc.AllProcs()
	if err != nil {
		return nil, err
	}
	children := map[int][]process{}
	for _, p := range all {
		stat, err := p.Stat()
		switch {
		case ended(err), p.PID != m.root && errors.Is(err, fs.ErrPermission):
		case err != nil:
			return nil, fmt.Errorf("process %d: %w", p.PID, err)
		case p.PID == m.root:
			tree = append(tree, process{p, stat})
		default:
			children[stat.PPID] = append(children[stat.PPID], process{p, stat})
		}
	}
	if len(tree) == 0 {
		return nil, fmt.Errorf("there is no process %d", m.root)
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].PID]...)
	}
	return tree, nil
}
