// Package counters counts the limits that bite, by reason: the one place where they all come together.
package counters

import (
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"foyer/middleware/source"
)

// toldSources is how many sources are told by name for each reason and interval. It is for each reason so that a flood
// of one sort does not hide another, and few because a list of addresses is not what an operator reads in a flood: all
// reasons at once make 15 lines a second at most.
const toldSources = 20

// Config is how a [Counters] tells of what it counts. The zero value has the defaults.
type Config struct {
	// Logger takes the lines; the default logger if nil.
	Logger *slog.Logger
	// Interval is how long a source is not told of again for the same reason: a minute where it is not positive.
	Interval time.Duration
	// Networks says which addresses are one source.
	Networks source.Networks
}

// Counters counts how often each limit was reached, and tells the operator without letting a flood write the log: the
// first time that a source reaches a limit is a line, and what follows from it within the interval is counted and
// becomes a line with their number, n, when that is over. Sources beyond the first 20 are one line together, with the
// addr "others". So the n of all lines for a reason, 1 where there is none, add up to its count.
//
// What it keeps is bounded, whatever the number of sources, and it runs only a timer, only while something was counted
// in this interval. Its methods may be called by several goroutines; a nil Counters counts nothing.
type Counters struct {
	Config

	mu      sync.Mutex
	reasons map[Reason]*count
	end     *time.Timer // of the interval; nil while nothing is to be told
}

// count is what was counted for a reason.
type count struct {
	total  uint64
	since  map[netip.Prefix]uint64 // by source that was told in this interval, what followed
	others uint64                  // what came in this interval from sources that were not told
}

// New returns a counters in which nothing was counted.
func New(cfg Config) *Counters {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Interval <= 0 {
		cfg.Interval = time.Minute
	}
	return &Counters{Config: cfg, reasons: map[Reason]*count{}}
}

// Count counts that peer has reached the limit that reason names. A peer that is nil, or has no IP address, is told of
// without one: where a limit is nobody's in particular.
func (t *Counters) Count(reason Reason, peer net.Addr) {
	if t == nil {
		return
	}
	network, _ := t.Networks.Of(source.Addr(peer))
	if t.count(reason, network) {
		t.tell(reason, name(network), 1)
	}
}

// Counts returns how often each limit was reached so far, for those that were.
func (t *Counters) Counts() map[Reason]uint64 {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := make(map[Reason]uint64, len(t.reasons))
	for reason, c := range t.reasons {
		counts[reason] = c.total
	}
	return counts
}

// Flush tells what is still to be told, as if the interval were over. Call it before the process ends.
func (t *Counters) Flush() {
	if t == nil {
		return
	}
	ended := t.endInterval()
	for _, reason := range slices.Sorted(maps.Keys(ended)) {
		for _, source := range slices.SortedFunc(maps.Keys(ended[reason].since), netip.Prefix.Compare) {
			t.tell(reason, name(source), ended[reason].since[source])
		}
		t.tell(reason, "others", ended[reason].others)
	}
}

// count reports whether source is to be told of now.
func (t *Counters) count(reason Reason, source netip.Prefix) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.end == nil {
		t.end = time.AfterFunc(t.Interval, t.Flush)
	}
	c := t.of(reason)
	c.total++
	_, told := c.since[source]
	switch {
	case told:
		c.since[source]++
	case len(c.since) < toldSources:
		c.since[source] = 0
		return true
	default:
		c.others++
	}
	return false
}

func (t *Counters) of(reason Reason) *count {
	c := t.reasons[reason]
	if c == nil {
		c = &count{since: map[netip.Prefix]uint64{}}
		t.reasons[reason] = c
	}
	return c
}

// endInterval returns what was counted in the interval, and begins another with the next Count.
func (t *Counters) endInterval() map[Reason]count {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.end != nil {
		t.end.Stop()
		t.end = nil
	}
	ended := make(map[Reason]count, len(t.reasons))
	for reason, c := range t.reasons {
		ended[reason] = *c
		c.since, c.others = map[netip.Prefix]uint64{}, 0
	}
	return ended
}

// tell writes nothing for none.
func (t *Counters) tell(reason Reason, addr string, n uint64) {
	var facts []any
	if addr != "" {
		facts = append(facts, "addr", addr)
	}
	facts = append(facts, "reason", string(reason))
	switch {
	case n == 0:
		return
	case n > 1:
		facts = append(facts, "n", n)
	}
	t.Logger.Warn("limit reached", facts...)
}

// name is empty for what is no source.
func name(source netip.Prefix) string {
	if !source.IsValid() {
		return ""
	}
	return source.String()
}
