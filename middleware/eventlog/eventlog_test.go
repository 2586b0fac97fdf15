package eventlog_test

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"foyer/middleware/eventlog"
	"foyer/middleware/eventlog/counters"
	"foyer/middleware/sshtest"
)

// book is a log with a clock for a test.
type book struct {
	*eventlog.Log
	text   *sshtest.Log
	counts *counters.Counters
	told   *sshtest.Log // what the counters tells
	now    time.Time
	opened int
}

// open returns a log that lets rate lines a second through, and 250 times as many at once.
func open(rate int) *book {
	b := &book{text: sshtest.NewLog(), told: sshtest.NewLog(), now: time.Unix(0, 0)}
	b.counts = counters.New(counters.Config{Logger: b.told.Logger()})
	b.Log = eventlog.New(eventlog.Config{
		Logger: b.text.Logger(), Rate: rate, Counters: b.counts, Now: func() time.Time { return b.now },
	})
	return b
}

// connection is one with a number of its own.
func (b *book) connection() *eventlog.Connection {
	b.opened++
	return b.Connection(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, "conn", b.opened)
}

// lines are the events of each connection in the log, by its number.
func (b *book) lines() map[string][]string {
	lines := map[string][]string{}
	for line := range strings.Lines(b.text.String()) {
		level, rest, _ := strings.Cut(strings.TrimSpace(line), " conn=")
		conn, facts, _ := strings.Cut(rest, " ")
		_, event, _ := strings.Cut(level, " msg=")
		lines[conn] = append(lines[conn], strings.TrimSpace(event+" "+facts))
	}
	return lines
}

func (b *book) expect(t *testing.T, conn int, want ...string) {
	t.Helper()
	if got := b.lines()[fmt.Sprint(conn)]; !slices.Equal(got, want) {
		t.Errorf("connection %d has the lines %q, want %q", conn, got, want)
	}
}

func (b *book) expectCounts(t *testing.T, want map[counters.Reason]uint64) {
	t.Helper()
	if got := b.counts.Counts(); !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

func TestConnectionWrites(t *testing.T) {
	b := open(0)
	c := b.connection()
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		c.Log(level, "event", "key", "value")
	}
	c.Close("closed", "duration", 1)
	want := ""
	for _, level := range []string{"debug", "info", "warn", "error"} {
		want += "level=" + level + " msg=event conn=1 key=value\n"
	}
	if got := b.text.String(); got != want+"level=info msg=closed conn=1 duration=1\n" {
		t.Errorf("the log is\n%s", got)
	}
	b.expectCounts(t, map[counters.Reason]uint64{})
}

func TestConnectionIsBounded(t *testing.T) {
	for _, known := range []bool{false, true} {
		b := open(0)
		c := b.connection()
		if known {
			c.Authenticated()
		}
		for range 49 {
			if c.Take(slog.LevelInfo, 2) {
				c.Write(slog.LevelInfo, "event")
				c.Write(slog.LevelInfo, "event")
			}
		}
		if c.Take(slog.LevelInfo, 2) {
			t.Log(slog.LevelError, "there was room for two lines and the last one")
		}
		for range 1000 {
			c.Log(slog.LevelWarn, "event")
		}
		c.Log(slog.LevelError, "error")
		c.Close("closed")
		c.Close("closed")
		lines := b.lines()["1"]
		want := []string{"event", "error", "closed omitted=1001", "closed omitted=1001"}
		if len(lines) != 99+3 || !slices.Equal(lines[98:], want) {
			t.Errorf("%d lines, the last ones %q", len(lines), lines[98:])
		}
		b.expectCounts(t, map[counters.Reason]uint64{counters.LogLines: 1001})
		b.counts.Flush()
		want = []string{"reason=log-lines", "reason=log-lines n=1000"}
		for i, line := range slices.Collect(strings.Lines(b.told.String())) {
			if !strings.HasSuffix(line, "addr=192.0.2.1/32 "+want[i]+"\n") {
				t.Errorf("told %s, want %s", line, want[i])
			}
		}
	}
}

// A connection that comes when there is no room has no line, whatever room there is before it goes.
func TestStrangersAreThereOrNot(t *testing.T) {
	b := open(1)
	for range 200 {
		c := b.connection()
		c.Log(slog.LevelInfo, "accepted")
		c.Log(slog.LevelWarn, "failed")
		b.now = b.now.Add(time.Second / 10)
		c.Log(slog.LevelWarn, "failed")
		c.Close("closed")
	}
	whole := 0
	for conn, lines := range b.lines() {
		switch {
		case slices.Equal(lines, []string{"accepted", "failed", "failed", "closed"}):
			whole++
		case !slices.Equal(lines, []string{"accepted", "closed omitted=2"}) &&
			!slices.Equal(lines, []string{"accepted", "failed", "closed omitted=1"}):
			t.Errorf("connection %s has the lines %q", conn, lines)
		}
	}
	if n := len(b.lines()); whole < 60 || n > whole+10 {
		t.Errorf("%d connections are in the log, %d as a whole", n, whole)
	}
	lines := uint64(strings.Count(b.text.String(), "\n"))
	if lines < 250 || lines > 270 {
		t.Errorf("%d lines", lines)
	}
	b.expectCounts(t, map[counters.Reason]uint64{counters.LogRate: 800 - lines})
	b.counts.Flush()
	if got := b.told.String(); strings.Count(got, "\n") != 2 || strings.Contains(got, "addr=") {
		t.Errorf("told\n%s", got)
	}
}

// The last line comes though there is no room for it any more.
func TestLastLineIsPaidFor(t *testing.T) {
	b := open(1)
	var all []*eventlog.Connection
	for range 126 {
		all = append(all, b.connection())
		all[len(all)-1].Log(slog.LevelInfo, "accepted")
	}
	for _, c := range all {
		c.Log(slog.LevelWarn, "failed")
		c.Close("closed")
	}
	b.expect(t, 1, "accepted", "closed omitted=1")
	b.expect(t, 125, "accepted", "closed omitted=1")
	b.expect(t, 126)
	b.expectCounts(t, map[counters.Reason]uint64{counters.LogRate: 125 + 3})
}

// full is a log whose budget for unauthenticated clients is used up, and with known also the one for authenticated ones.
func full(known bool) *book {
	b := open(1)
	for range 125 {
		c := b.connection()
		if known {
			c.Authenticated()
			c.Log(slog.LevelInfo, "accepted")
		}
		b.connection().Log(slog.LevelInfo, "accepted")
	}
	return b
}

func TestStrangersDoNotHideVisitors(t *testing.T) {
	b := full(false)
	c := b.connection()
	c.Log(slog.LevelInfo, "accepted")
	c.Log(slog.LevelWarn, "failed")
	c.Authenticated()
	c.Log(slog.LevelInfo, "succeeded")
	if c.Take(slog.LevelInfo, 2) {
		c.Write(slog.LevelInfo, "opened")
		c.Write(slog.LevelInfo, "closed")
	}
	c.Close("closed")
	b.expect(t, b.opened, "succeeded", "opened", "closed", "closed omitted=2")
}

// An authenticated client for which there was no room is in the log again as soon as there is.
func TestVisitorsComeBack(t *testing.T) {
	b := full(true)
	c := b.connection()
	c.Log(slog.LevelInfo, "accepted")
	c.Authenticated()
	c.Log(slog.LevelInfo, "succeeded")
	b.expect(t, b.opened)
	b.now = b.now.Add(2 * time.Second)
	c.Log(slog.LevelInfo, "opened")
	c.Log(slog.LevelInfo, "closed")
	c.Close("closed")
	b.expect(t, b.opened, "opened", "closed omitted=3")
}

func TestErrorsPass(t *testing.T) {
	b := full(true)
	c := b.connection()
	c.Log(slog.LevelInfo, "accepted")
	for range 250 {
		c.Log(slog.LevelError, "error")
	}
	c.Close("closed")
	if got := b.lines()[fmt.Sprint(b.opened)]; !slices.Equal(got, slices.Repeat([]string{"error"}, 250)) {
		t.Errorf("the lines are %q", got)
	}
	b.connection().Log(slog.LevelError, "error")
	b.expect(t, b.opened)
	b.now = b.now.Add(time.Second)
	c.Log(slog.LevelError, "error")
	c.Log(slog.LevelError, "error")
	if got := strings.Count(b.text.String(), "msg=error"); got != 251 {
		t.Errorf("%d errors", got)
	}
}

// Lines below the level take no room, and are not counted as left out.
func TestLevel(t *testing.T) {
	text, counts := sshtest.NewLog(), counters.New(counters.Config{Logger: slog.New(slog.DiscardHandler)})
	l := eventlog.New(eventlog.Config{Logger: eventlog.NewLogger(text, "logfmt", slog.LevelWarn), Rate: 1, Counters: counts})
	for range 1000 {
		c := l.Connection(nil)
		c.Log(slog.LevelInfo, "accepted")
		c.Close("closed")
	}
	for range 125 {
		l.Connection(nil).Log(slog.LevelWarn, "failed")
	}
	if got := strings.Count(text.String(), "\n"); got != 125 || len(counts.Counts()) != 0 {
		t.Errorf("%d lines, and %v", got, counts.Counts())
	}
}

// The logger of a connection writes the same lines as its methods, with attributes and groups as slog has them, and within
// the same bounds.
func TestConnectionLogger(t *testing.T) {
	b := open(0)
	c := b.connection()
	logger := c.Logger()
	logger.Info("event", "key", "value")
	with := logger.With("a", 1).WithGroup("g").With("b", 2).WithGroup("h")
	with.Warn("event", "c", 3, slog.Group("i", "d", 4))
	logger.Info("event") // what with has is its own
	want := "level=info msg=event conn=1 key=value\n" +
		"level=warn msg=event conn=1 a=1 g.b=2 g.h.c=3 g.h.i.d=4\n" +
		"level=info msg=event conn=1\n"
	if got := b.text.String(); got != want {
		t.Errorf("the log is\n%swant\n%s", got, want)
	}
	for range 2 * eventlog.MaxLines {
		with.Info("event")
	}
	c.Close("closed")
	if lines := b.lines()["1"]; len(lines) != eventlog.MaxLines || lines[len(lines)-1] != "closed omitted=104" {
		t.Errorf("%d lines, the last one %q", len(lines), lines[len(lines)-1])
	}
	b.expectCounts(t, map[counters.Reason]uint64{counters.LogLines: 104})
}

func TestRate(t *testing.T) {
	for rate, want := range map[int]int{0: 25_100, 7: 1757, -1: 13_200} {
		b := open(rate)
		for range 13_000 {
			b.connection().Log(slog.LevelInfo, "accepted")
		}
		b.now = b.now.Add(time.Second)
		for range 200 {
			b.connection().Log(slog.LevelInfo, "accepted")
		}
		lines := strings.Count(b.text.String(), "\n")
		if rate >= 0 {
			lines *= 2 // each has paid for a last line
		}
		if lines < want-2 || lines > want {
			t.Errorf("rate %d: %d lines, want %d", rate, lines, want)
		}
	}
}

// 5,000 visitors in ten seconds, of whom each fifth mistypes.
func TestFrontPage(t *testing.T) {
	b := open(0)
	for i := range 5000 {
		c := b.connection()
		c.Log(slog.LevelInfo, "accepted")
		if i%5 == 0 {
			c.Log(slog.LevelWarn, "failed")
		}
		c.Authenticated()
		c.Log(slog.LevelInfo, "succeeded")
		c.Log(slog.LevelInfo, "opened")
		c.Log(slog.LevelInfo, "closed")
		c.Close("closed")
		b.now = b.now.Add(2 * time.Millisecond)
	}
	if got := strings.Count(b.text.String(), "\n"); got != 26_000 {
		t.Errorf("%d lines", got)
	}
	b.expectCounts(t, map[counters.Reason]uint64{})
}

// A hundred seconds of 1,000 strangers a second, with a visitor in each second.
func TestFlood(t *testing.T) {
	b := open(0)
	for i := range 100_000 {
		c := b.connection()
		c.Log(slog.LevelInfo, "accepted")
		if i%1000 == 500 {
			c.Authenticated()
			c.Log(slog.LevelInfo, "succeeded")
		}
		c.Close("closed")
		b.now = b.now.Add(time.Millisecond)
	}
	written := strings.Count(b.text.String(), "\n")
	if most := 25_000 + 100*100 + 100*2; written > most || written < most-1000 {
		t.Errorf("%d lines, want %d", written, most)
	}
	if got := strings.Count(b.text.String(), "msg=succeeded"); got != 100 {
		t.Errorf("%d of 100 visitors are in the log", got)
	}
	b.expectCounts(t, map[counters.Reason]uint64{counters.LogRate: uint64(2*100_000 + 100 - written)})
}

// Lines that strangers cause and that belong to no connection are bounded too.
func TestLinesOfStrangers(t *testing.T) {
	b := open(1)
	burst := int(eventlog.Burst/time.Second) / 2 // the last line of a connection, which never comes, is paid for
	for range burst {
		b.Unauthenticated().Warn("source blocked", "addr", "192.0.2.1")
		b.Unauthenticated().Info("source unblocked")
	}
	b.expectCounts(t, map[counters.Reason]uint64{counters.LogRate: uint64(burst)})
	if blocked := strings.Count(b.text.String(), "source blocked"); blocked != burst/2+burst%2 {
		t.Errorf("%d lines of %d", blocked, burst)
	}
}

func TestWithoutSettings(t *testing.T) {
	text, before := sshtest.NewLog(), slog.Default()
	slog.SetDefault(text.Logger())
	defer slog.SetDefault(before)
	l := eventlog.New(eventlog.Config{})
	for range 12_600 {
		l.Connection(nil, "conn", 1).Log(slog.LevelInfo, "accepted")
	}
	if got := strings.Count(text.String(), "msg=accepted"); got < 12_500 || got >= 12_600 {
		t.Errorf("%d lines", got)
	}
	text.Line(t, "limit reached", "reason=log-rate") // by the counters that it has of its own
}

func TestNilConnection(t *testing.T) {
	var c *eventlog.Connection
	c.Authenticated()
	c.Log(slog.LevelError, "error")
	c.Close("closed")
	if c.Take(slog.LevelError, 1) {
		t.Log(slog.LevelError, "there is room for a line in no log")
	}
}

// Many goroutines write at once: each line is written or counted, and the bound holds.
func TestAtOnce(t *testing.T) {
	b := open(1)
	var all sync.WaitGroup
	var asked atomic.Uint64
	known := b.connection()
	known.Authenticated()
	for range 8 {
		c := b.connection()
		all.Go(func() {
			for range 500 {
				c.Log(slog.LevelInfo, "event")
				known.Log(slog.LevelInfo, "event")
				asked.Add(2)
			}
		})
	}
	all.Wait()
	written := uint64(strings.Count(b.text.String(), "\n"))
	left := b.counts.Counts()[counters.LogRate] + b.counts.Counts()[counters.LogLines]
	if written+left != asked.Load() {
		t.Errorf("%d lines are written and %d left out, of %d", written, left, asked.Load())
	}
	if got := len(b.lines()["1"]); got != 99 {
		t.Errorf("the connection that all write to has %d lines", got)
	}
	if strangers := written - 99; strangers > 250-2 || strangers < 200 {
		t.Errorf("strangers have %d lines", strangers)
	}
}
