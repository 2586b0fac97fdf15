package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

func contains(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// TestSomeFail: one login that did not succeed is enough for status 1, and the reason is in the report.
func TestSomeFail(t *testing.T) {
	var came atomic.Int64
	f := (&fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
		answer(channel, requests, message, uint32(came.Add(1)%10/9)) // every tenth
	}}).open(t)
	got := knock(t, f.target(), "--open", "-n", "20", "-c", "2")
	if got.status != 1 || !contains(got.stdout, "18 logins in", "; 2 failed", "         2  exit status 1") {
		t.Errorf("status %d:\n%s", got.status, got.stdout)
	}
	if !contains(got.stderr, "error: not every login succeeded") {
		t.Errorf("stderr %q", got.stderr)
	}
}

func TestExpect(t *testing.T) {
	f := new(fake).open(t)
	if got := knock(t, f.target(), "--open", "-n", "2", "--expect", write(t, "other", "Something else")); got.status != 1 ||
		!contains(got.stdout, "2  stdout is not what was expected") {
		t.Errorf("status %d:\n%s", got.status, got.stdout)
	}
}

// TestGiveUp: where nobody gets in, there is no point in going on.
func TestGiveUp(t *testing.T) {
	f := (&fake{accept: func(net.Conn) bool { return false }}).open(t)
	for _, args := range [][]string{{"-d", "1h"}, {"-d", "1h", "--rate", "500", "-c", "4"}, {"hold", "1000"}, {"preauth", "1000"}} {
		got := knock(t, append(args, f.target(), "--open")...)
		if got.status != 1 || !contains(got.stdout, "\n0 ", "note: given up") || contains(got.stdout, "1,000 failed") {
			t.Errorf("status %d:\n%s", got.status, got.stdout)
		}
	}
}

// TestGiveUpBesideSuccess: a login that was under way when the others gave up may still succeed, and no note denies it.
func TestGiveUpBesideSuccess(t *testing.T) {
	var came atomic.Int64
	hopeless := make(chan struct{})
	f := (&fake{accept: func(net.Conn) bool {
		if came.Add(1) > 1 {
			return false
		}
		<-hopeless
		return true
	}}).open(t)
	d, p, r := f.door(t), pace{visitors: 12, duration: time.Hour}, newRecord()
	over := make(chan *measurement, 1)
	go func() {
		m, _ := measure(t.Context(), d, p, r)
		over <- m
	}()
	until(t, func() bool { _, failures := r.counts(); return failures >= 12 })
	close(hopeless)
	m := <-over
	notes := newLoginReport(d, p, m).notes()
	if r.logins != 1 || !m.gaveUp || !slices.Equal(notes, []string{"given up: the first 12 logins to end all failed"}) {
		t.Errorf("%d logins, given up %t, %q", r.logins, m.gaveUp, notes)
	}
}

// TestInterrupt: Ctrl-C ends the measurement, and what was measured is told.
func TestInterrupt(t *testing.T) {
	var came atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := (&fake{accept: func(conn net.Conn) bool {
		if came.Add(1) < 30 {
			return true
		}
		cancel()
		return mute(conn)
	}}).open(t)
	got := knockUntil(ctx, f.target(), "--open", "-d", "1h", "--json")
	var report loginReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		t.Fatalf("%v:\n%s%s", err, got.stdout, got.stderr)
	}
	if !report.Interrupted || report.Logins < 20 || report.Failed != 0 || got.status != 0 {
		t.Errorf("status %d: %+v", got.status, report)
	}
}

// TestInterruptedAtOnce: it is not said of nothing that it failed.
func TestInterruptedAtOnce(t *testing.T) {
	f := new(fake).open(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{f.target()}, {"compare", "a=" + f.target(), "b=" + f.target()}} {
		got := knockUntil(over, append(args, "--open")...)
		if got.status != 1 || !contains(got.stderr, "error: nothing was measured") {
			t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
		}
	}
}

// TestUsage: the CPU is that of the server, and only while it was measured.
func TestUsage(t *testing.T) {
	f := new(fake).open(t)
	got := knock(t, f.target(), "--open", "-n", "100", "--json", "--pid", strconv.Itoa(os.Getpid()))
	var report loginReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		t.Fatal(err)
	}
	s := report.Server
	if s == nil || s.PerLogin == nil || s.Memory == nil {
		t.Fatalf("%s", got.stdout)
	}
	// The server is this process, and so the two count the same.
	if s.CPU <= 0 || s.CPU < report.Own.CPU-0.03 || s.CPU > 3*report.Own.CPU+0.1 {
		t.Errorf("server %g s, generator %g s", s.CPU, report.Own.CPU)
	}
	if want := s.CPU * 1e3 / 100; *s.PerLogin != want {
		t.Errorf("%g ms a login, want %g", *s.PerLogin, want)
	}
	if s.Memory.Before <= 0 || s.Memory.Peak < s.Memory.After {
		t.Errorf("%+v", s.Memory)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	reasons := tally{}
	for i := range 10_000 {
		reasons.add(strconv.Itoa(i), 1)
	}
	if len(reasons) > maxReasons+1 || reasons[otherReasons] != 10_000-maxReasons {
		t.Errorf("%d reasons, %d others", len(reasons), reasons[otherReasons])
	}
	if first := reasons.sorted()[0]; first.Reason != otherReasons {
		t.Errorf("the first is %v", first)
	}
}

// TestSamplesAreBounded: of many logins evenly chosen ones are kept, each of which stands for as many.
func TestSamplesAreBounded(t *testing.T) {
	s := samples{every: 1}
	const logins = 3 * maxSamples
	for i := range logins {
		s.add(sample{at: time.Duration(i) * time.Millisecond})
	}
	if len(s.kept) >= maxSamples || s.every != 4 {
		t.Fatalf("%d kept, every %d", len(s.kept), s.every)
	}
	for i, one := range s.kept {
		if want := time.Duration((i+1)*4-1) * time.Millisecond; one.at != want {
			t.Fatalf("sample %d is of %s, want %s", i, one.at, want)
		}
	}
	var sum int64
	for _, part := range s.timeline(logins * time.Millisecond) {
		sum += part.Logins
	}
	if sum != logins {
		t.Errorf("the timeline has %d logins", sum)
	}
}

func TestTimeline(t *testing.T) {
	second := time.Second
	s := samples{every: 1}
	for _, one := range []sample{
		{at: 0, took: second / 10}, {at: second / 10, took: second / 5}, {at: 3 * second / 2, took: second * 10},
		{at: second, took: second, failed: true},
	} {
		s.add(one)
	}
	list := s.timeline(250*second + second/10)
	if len(list) != 50 || list[1].At != 5 || list[1].Width != 5 || list[49].Width < 5.09 || list[49].Width > 5.11 {
		t.Fatalf("%d intervals: %+v", len(list), list)
	}
	first := list[0]
	if first.Logins != 2 || first.Failed != 1 || *first.P50 != 200 || *first.P99 != 10_000 || list[1].P50 != nil {
		t.Errorf("%+v", first)
	}
	if list[2].Logins != 1 { // it was over after 11.5 s
		t.Errorf("%+v", list[2])
	}
	if empty := (&samples{every: 1}).timeline(0); len(empty) != 1 {
		t.Errorf("%+v", empty)
	}
}

func TestPercentiles(t *testing.T) {
	h := histogram()
	for i := range 1000 {
		put(h, time.Duration(i+1)*time.Millisecond)
	}
	put(h, 1000*time.Hour)
	got := percentilesOf(h)
	for _, tt := range []struct{ got, want float64 }{{got.P50, 501}, {got.P90, 901}, {got.P99, 991}, {got.Max, 3_600_000}} {
		if tt.got < tt.want*0.999 || tt.got > tt.want*1.001 {
			t.Errorf("%g, want %g", tt.got, tt.want)
		}
	}
	if got.Count != 1001 {
		t.Errorf("%d values", got.Count)
	}
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{ms(0.0714), "0.071 ms"}, {ms(1), "1.00 ms"}, {ms(9.999), "10.0 ms"}, {ms(12.34), "12.3 ms"},
		{ms(999.4), "999 ms"}, {ms(999.6), "1.00 s"}, {ms(61_000), "61.0 s"},
		{ratio(0.98765), "0.988"}, {ratio(9.9994), "9.999"}, {ratio(98.604), "98.6"},
		{significant(0), "0.00"}, {significant(1234.5), "1,235"},
		{count(0), "0"}, {count(999), "999"}, {count(1000), "1,000"}, {count(-1234567), "-1,234,567"}, {count(-123), "-123"},
		{plural(1, "login"), "1 login"}, {plural(2000, "login"), "2,000 logins"},
		{size(512), "0.5 KiB"}, {size(3 << 20), "3.0 MiB"}, {size(-2048), "-2.0 KiB"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
