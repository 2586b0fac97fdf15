// Package counters counts how often each limit is reached, and logs it.
package counters

import (
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"foyer/middleware/source"
)

// maxLoggedSources is how many sources are logged by address for each reason and interval. It is a limit for each
// reason, so that a flood of one kind does not hide another. It is small, because nobody reads long lists of addresses
// during a flood: all reasons together write at most 15 lines a second.
const maxLoggedSources = 20

// Config configures a [Counters]. The zero value has the defaults.
type Config struct {
	// Logger writes the lines; the default logger if nil.
	Logger *slog.Logger
	// Interval is how long repeated events of a source are collected into one line: a minute if it is not positive.
	Interval time.Duration
	// Networks says which addresses are one source.
	Networks source.Networks
}

// Counters counts how often each limit was reached, and logs it in a bounded number of lines. When a source reaches a
// limit for the first time in an interval, it writes a line. At the end of the interval it writes one line for the
// repetitions of each source, with their number n. Sources after the first 20 share one line, with the addr "others". A
// line without n stands for one event, so the lines of a reason add up to its count.
//
// Its memory is bounded. It runs a timer only in an interval in which something was counted. It is safe for concurrent
// use, and nil counts nothing.
type Counters struct {
	Config
	networks atomic.Pointer[source.Networks]

	mu      sync.Mutex
	reasons map[Reason]*count
	timer   *time.Timer // ends the interval; nil if nothing was counted in it
}

// count is the count of one reason.
type count struct {
	total  uint64
	logged map[netip.Prefix]uint64 // repetitions in this interval, by source that was logged
	others uint64                  // events in this interval from sources that were not logged
}

// New returns a counters in which all counts are 0.
func New(cfg Config) *Counters {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Interval <= 0 {
		cfg.Interval = time.Minute
	}
	t := &Counters{Config: cfg, reasons: map[Reason]*count{}}
	t.networks.Store(&t.Networks)
	return t
}

// SetNetworks changes which addresses are one source.
func (t *Counters) SetNetworks(networks source.Networks) { t.networks.Store(&networks) }

// Count counts that peer reached the limit that reason names. Peer may be nil if the limit belongs to no single source:
// then the line has no address.
func (t *Counters) Count(reason Reason, peer net.Addr) {
	if t == nil {
		return
	}
	network, _ := t.networks.Load().Of(source.Addr(peer))
	if t.count(reason, network) {
		t.log(reason, addrOf(network), 1)
	}
}

// Counts returns how often each limit was reached, without those that never were.
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

// Flush ends the interval and logs its repetitions. Call it before the process ends.
func (t *Counters) Flush() {
	if t == nil {
		return
	}
	ended := t.endInterval()
	for _, reason := range slices.Sorted(maps.Keys(ended)) {
		for _, source := range slices.SortedFunc(maps.Keys(ended[reason].logged), netip.Prefix.Compare) {
			t.log(reason, addrOf(source), ended[reason].logged[source])
		}
		t.log(reason, "others", ended[reason].others)
	}
}

// count reports whether the caller must log source now.
func (t *Counters) count(reason Reason, source netip.Prefix) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil {
		t.timer = time.AfterFunc(t.Interval, t.Flush)
	}
	c := t.countOf(reason)
	c.total++
	_, logged := c.logged[source]
	switch {
	case logged:
		c.logged[source]++
	case len(c.logged) < maxLoggedSources:
		c.logged[source] = 0
		return true
	default:
		c.others++
	}
	return false
}

func (t *Counters) countOf(reason Reason) *count {
	c := t.reasons[reason]
	if c == nil {
		c = &count{logged: map[netip.Prefix]uint64{}}
		t.reasons[reason] = c
	}
	return c
}

// endInterval returns the counts of the interval. The next Count begins another one.
func (t *Counters) endInterval() map[Reason]count {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	ended := make(map[Reason]count, len(t.reasons))
	for reason, c := range t.reasons {
		ended[reason] = *c
		c.logged, c.others = map[netip.Prefix]uint64{}, 0
	}
	return ended
}

// log writes a line, unless n is 0.
func (t *Counters) log(reason Reason, addr string, n uint64) {
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

// addrOf returns "" for a peer without an address.
func addrOf(source netip.Prefix) string {
	if !source.IsValid() {
		return ""
	}
	return source.String()
}
