package main

import (
	"context"
	"encoding/json"
	"fmt"
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

// TestRatios: a figure is compared with the first door's of the same round, and not with its median.
func TestRatios(t *testing.T) {
	at := func(cpu, throughput float64) window { return window{PerLogin: &cpu, PerSecond: throughput} }
	c := &contest{results: [][]window{
		{at(1, 100), at(2, 50)},
		{at(10, 10), at(20, 5)}, // a disturbance that hits both
		{at(1, 100), at(2, 50)},
		{at(1, 100), {PerSecond: 50}}, // not measured
	}}
	if got := c.ratios(1, cpuPerLogin); !slices.Equal(got, []float64{2, 2, 2}) {
		t.Errorf("CPU %v", got)
	}
	if got := c.ratios(1, loginsPerSecond); !slices.Equal(got, []float64{0.5, 0.5, 0.5, 0.5}) {
		t.Errorf("throughput %v", got)
	}
	if got := c.ratios(0, cpuPerLogin); !slices.Equal(got, []float64{1, 1, 1, 1}) {
		t.Errorf("the first to itself %v", got)
	}
}

// TestRounds: every door has its turn in every round, in the round's order, and the first round does not count.
func TestRounds(t *testing.T) {
	a, b := new(fake).open(t), new(fake).open(t)
	c := &contest{doors: []*door{a.door(t), b.door(t)}, visitors: 1, window: 20 * time.Millisecond, rounds: 3}
	c.doors[0].name, c.doors[1].name = "a", "b"
	var turns []string
	round := 0
	err := c.run(t.Context(), func(int) []int { round++; return []int{round % 2, (round + 1) % 2} }, func(round int, door string) {
		turns = append(turns, fmt.Sprint(round, door))
	})
	if err != nil || !slices.Equal(turns, []string{"0b", "0a", "1a", "1b", "2b", "2a", "3a", "3b"}) {
		t.Errorf("%v, %v", turns, err)
	}
	var sum int64
	for i, results := range c.results {
		sum += results[0].Logins
		if results[0].Round != i+1 || results[0].Place != []int{1, 2, 1}[i] || results[0].Logins == 0 {
			t.Errorf("round %d: %+v", i+1, results[0])
		}
	}
	if len(c.results) != 3 || c.records[0].logins != sum {
		t.Errorf("%d rounds of %d logins, and %d in the record", len(c.results), sum, c.records[0].logins)
	}
}

// TestShuffled: no order is lost, none is always the same.
func TestShuffled(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		order := shuffled(3)
		seen[fmt.Sprint(order)] = true
		if slices.Sort(order); !slices.Equal(order, []int{0, 1, 2}) {
			t.Fatalf("%v", order)
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d orders of 6", len(seen))
	}
}

// TestSameDoor: a door compared with itself costs as much as itself.
func TestSameDoor(t *testing.T) {
	f := new(fake).open(t)
	a := fmt.Sprintf("a=%s,pid=%d,open=true", f.target(), os.Getpid())
	got := knock(t, "compare", a, "again"+a[1:], "--rounds", "7", "--window", "200ms", "--json")
	var report compareReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.status != 0 {
		t.Fatalf("status %d, %v:\n%s%s", got.status, err, got.stdout, got.stderr)
	}
	if report.Rounds != 7 || len(report.Doors) != 2 || len(report.Doors[1].Rounds) != 7 {
		t.Fatalf("%s", got.stdout)
	}
	again := report.Doors[1]
	if again.CPURatio == nil || again.CPURatio.Median < 0.75 || again.CPURatio.Median > 1.33 {
		t.Errorf("CPU ratio %v", again.CPURatio)
	}
	if first := report.Doors[0].CPURatio; *first != (quartiles{1, 1, 1}) {
		t.Errorf("the first to itself is %v", first)
	}
	if again.ThroughputRatio == nil || again.Latency.Login.Count != again.Logins || again.Logins == 0 {
		t.Errorf("%+v", again)
	}
}

// TestSlowDoor: a door that keeps its visitors waiting is seen to, and one without a process has no CPU.
func TestSlowDoor(t *testing.T) {
	fast := new(fake).open(t)
	slow := (&fake{accept: func(net.Conn) bool { time.Sleep(100 * time.Millisecond); return true }}).open(t)
	got := knock(t, "compare", "fast="+fast.target(), "slow="+slow.target()+",open=true,cipher=aes128-ctr:aes256-ctr", "--open",
		"--rounds", "2", "--window", "100ms", "-c", "2", "--json")
	var report compareReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.status != 0 {
		t.Fatalf("status %d, %v:\n%s%s", got.status, err, got.stdout, got.stderr)
	}
	second := report.Doors[1]
	if second.ThroughputRatio.Median >= 1 || second.CPU != nil || second.CPURatio != nil || second.Door.Cipher != "aes128-ctr" {
		t.Errorf("%s", got.stdout)
	}
}

func TestCompareTable(t *testing.T) {
	f := new(fake).open(t)
	args := []string{"compare", "--rounds", "1", "--window", "20ms", "--open", "a=" + f.target(),
		"b=" + f.target() + ",pid=" + strconv.Itoa(os.Getpid())}
	got := knock(t, args...)
	if got.status != 0 || !contains(got.stdout, "1 round of 20ms a door, 8 visitors at a time", "ratios to a", "\nb ", "CPU a login") {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
	if contains(got.stdout, "note:") {
		t.Errorf("a comparison that was complete has notes:\n%s", got.stdout)
	}
}

// TestOwnAccess: what a door says of itself wins over the flags, and the doors that say nothing have those.
func TestOwnAccess(t *testing.T) {
	path, public := keyFile(t)
	withKey, withPassword := (&fake{key: public}).open(t), (&fake{password: "secret"}).open(t)
	open := new(fake).open(t)
	for _, tt := range []struct {
		name, door string
		status     int
	}{
		{"a key", withKey.target() + ",key=" + path, 0},
		{"a password", withPassword.target() + ",password-file=" + write(t, "password", "secret"), 0},
		{"nothing", open.target(), 0},
		{"its own open", withKey.target() + ",open=true,key=" + path, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := knock(t, "compare", "a="+tt.door, "b="+open.target(), "--open", "--rounds", "1", "--window", "50ms", "-c", "1")
			if got.status != tt.status {
				t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
			}
		})
	}
}

// TestOwnMethod: who is measured with a password does not get in with the key that is for all others, nor the other way
// round.
func TestOwnMethod(t *testing.T) {
	path, public := keyFile(t)
	secret := write(t, "password", "secret")
	withKey, withPassword := (&fake{key: public}).open(t), (&fake{password: "secret"}).open(t)
	for _, args := range [][]string{
		{"a=" + withKey.target(), "b=" + withKey.target() + ",password-file=" + secret, "--key", path},
		{"a=" + withPassword.target(), "b=" + withPassword.target() + ",key=" + path, "--password-file", secret},
	} {
		got := knock(t, append([]string{"compare", "--rounds", "1", "--window", "50ms", "-c", "1"}, args...)...)
		if got.status != 1 || !contains(got.stderr, "error: door b: no login succeeded") {
			t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
		}
	}
}

// TestDeadDoor: a comparison with a door where nobody gets in is none.
func TestDeadDoor(t *testing.T) {
	f := new(fake).open(t)
	dead := (&fake{accept: func(net.Conn) bool { return false }}).open(t)
	got := knock(t, "compare", "a="+f.target(), "b="+dead.target(), "--open", "--window", "10ms")
	if got.status != 1 || got.stdout != "" || !contains(got.stderr, "error: door b: no login succeeded in the warm-up: key exchange") {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
}

// TestShortWindow: in no time nobody comes.
func TestShortWindow(t *testing.T) {
	f := new(fake).open(t)
	got := knock(t, "compare", "a="+f.target(), "b="+f.target(), "--open", "--window", "1ns")
	if got.status != 1 || !contains(got.stderr, "no login was begun in the warm-up: windows of 1ns are too short") {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
}

// TestDyingDoor: the rounds that were complete are told, and then what failed in the one that was not, and no other.
func TestDyingDoor(t *testing.T) {
	var dead, odd atomic.Bool
	a := new(fake).open(t)
	b := (&fake{accept: func(net.Conn) bool { return !dead.Load() }}).open(t)
	b.session = func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
		status := uint32(0)
		if odd.Swap(false) {
			status = 7
		}
		answer(channel, requests, message, status)
	}
	// In the first round there has to be time for a second login, on a slow machine too.
	c := &contest{doors: []*door{a.door(t), b.door(t)}, visitors: 1, window: 500 * time.Millisecond, rounds: 9}
	c.doors[0].name, c.doors[1].name = "a", "b"
	err := c.run(t.Context(), shuffled, func(round int, door string) {
		odd.Store(round == 1 && door == "b")
		dead.Store(round == 3)
	})
	if err == nil || !contains(err.Error(), "door b: no login succeeded in round 3: key exchange: ") || contains(err.Error(), "status 7") {
		t.Error(err)
	}
	if len(c.results) != 2 || c.records[1].failures != 1 || c.records[1].reasons["exit status 7"] != 1 {
		t.Errorf("%d rounds; %v", len(c.results), c.records[1].reasons)
	}
}

// TestDyingProcess: without the server's figures a round is not complete.
func TestDyingProcess(t *testing.T) {
	a, b := new(fake).open(t), new(fake).open(t)
	c := &contest{doors: []*door{a.door(t), b.door(t)}, visitors: 1, window: 20 * time.Millisecond, rounds: 9}
	c.doors[1].name = "b"
	process := &amounts{make([]int64, 6)} // it is looked at before and after each window
	c.doors[1].meter = process
	err := c.run(t.Context(), shuffled, func(int, string) {})
	if err == nil || err.Error() != "door b: no figures of the server in round 3: there is no process" || len(c.results) != 2 {
		t.Errorf("%d rounds, %v", len(c.results), err)
	}
	if sum := c.results[0][0].Logins + c.results[1][0].Logins; c.records[0].logins != sum {
		t.Errorf("%d logins in the record, and %d in complete rounds", c.records[0].logins, sum)
	}
}

// TestDyingDoorReport: the table comes before the error.
func TestDyingDoorReport(t *testing.T) {
	a := new(fake).open(t)
	var came atomic.Int64
	b := (&fake{accept: func(net.Conn) bool { return came.Add(1) < 150 }}).open(t)
	got := knock(t, "compare", "a="+a.target(), "b="+b.target(), "--open", "--window", "10ms", "--rounds", "1000")
	if got.status != 1 || !contains(got.stdout, "of 10ms a door", "\nb ") || !contains(got.stderr, "error: door b: no login succeeded in round ") {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
}

// TestCompareInterrupted: the rounds that were complete are told.
func TestCompareInterrupted(t *testing.T) {
	f := new(fake).open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &contest{doors: []*door{f.door(t), f.door(t)}, visitors: 1, window: 20 * time.Millisecond, rounds: 100}
	err := c.run(ctx, shuffled, func(round int, _ string) {
		if round == 3 {
			cancel()
		}
	})
	if err != nil || len(c.results) != 2 {
		t.Errorf("%d rounds, %v", len(c.results), err)
	}
	if !c.interrupted {
		t.Error("it was not interrupted")
	}
	for _, interrupted := range []bool{true, false} {
		var table strings.Builder
		c.interrupted = interrupted
		newCompareReport(c).table(&table)
		if contains(table.String(), "note: interrupted") != interrupted {
			t.Errorf("interrupted %t:\n%s", interrupted, &table)
		}
	}
	cancelled, end := context.WithCancel(t.Context())
	end()
	if got := knockUntil(cancelled, "compare", "a="+f.target(), "b="+f.target(), "--open"); got.status != 1 {
		t.Errorf("status %d:\n%s%s", got.status, got.stdout, got.stderr)
	}
}
