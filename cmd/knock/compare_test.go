package main

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"foyer/cmd/knock/report"
)

// Every server is measured in every round, and the warm-up round is not counted.
func TestCompare(t *testing.T) {
	a, b := new(fake).open(t), new(fake).open(t)
	args := []string{"compare", "a=" + a.target(), "b=" + b.target() + ",concurrency=2", "--open",
		"--rounds", "3", "--window", "50ms"}
	got := knock(t, append(args, "--json")...)
	got.check(t, 0)
	var r report.Compare
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Servers {
		var logins int64
		for _, round := range s.Rounds {
			logins += round.Logins
		}
		if len(s.Rounds) != 3 || s.Logins != logins || s.ThroughputRatio == nil || s.CPURatio != nil ||
			s.Server.Version == "" {
			t.Errorf("%+v", s)
		}
	}
	if ratio := r.Servers[0].ThroughputRatio; r.Rounds != 3 || *ratio != (report.Quartiles{Q1: 1, Median: 1, Q3: 1}) {
		t.Errorf("%d rounds, %v", r.Rounds, ratio)
	}
	if r.Servers[0].Concurrency != 8 || r.Servers[1].Concurrency != 2 {
		t.Errorf("%d and %d at a time", r.Servers[0].Concurrency, r.Servers[1].Concurrency)
	}
	knock(t, args...).check(t, 0, "3 rounds of 50ms", "ratios to a", "\nb ", "1.00 (1.00-1.00)")
}

// A setting of a server has precedence over the flag.
func TestOwnCredentials(t *testing.T) {
	path, public := keyFile(t)
	secret := write(t, "password", "secret")
	withKey, withPassword := (&fake{key: public}).open(t), (&fake{password: "secret"}).open(t)
	open := new(fake).open(t)
	for _, tt := range []struct {
		name   string
		args   []string
		status int
	}{
		{"key", []string{"a=" + withKey.target() + ",key=" + path, "b=" + open.target(), "--open"}, 0},
		{"password", []string{"a=" + withPassword.target() + ",password-file=" + secret, "b=" + open.target(), "--open"}, 0},
		{"open", []string{"a=" + withKey.target() + ",open=true,key=" + path, "b=" + open.target(), "--open"}, 1},
		{"password, not key", []string{"a=" + withKey.target(), "b=" + withKey.target() + ",password-file=" + secret,
			"--key", path}, 1},
		{"key, not password", []string{"a=" + withPassword.target(), "b=" + withPassword.target() + ",key=" + path,
			"--password-file", secret}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := knock(t, append([]string{"compare", "--rounds", "1", "--window", "50ms", "-c", "1"}, tt.args...)...)
			got.check(t, tt.status)
			if tt.status != 0 {
				got.check(t, tt.status, "warm-up round: no login succeeded: authentication: ")
			}
		})
	}
}

func TestWindowTooShort(t *testing.T) {
	f := new(fake).open(t)
	got := knock(t, "compare", "a="+f.target(), "b="+f.target(), "--open", "--window", "1ns")
	got.check(t, 1, "warm-up round: no login started; the window is too short")
}

// If a server fails, the complete rounds are reported, and then the error.
func TestServerFailsLater(t *testing.T) {
	a := new(fake).open(t)
	var failing atomic.Bool
	b := (&fake{accept: func(net.Conn) bool { return !failing.Load() }}).open(t)
	b.session = func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
		answer(channel, requests, message, 0)
	}
	c := newComparison([]*server{a.server(t), b.server(t)}, 1, 1000, 50*time.Millisecond)
	c.servers[1].name = "b"
	done := make(chan error, 1)
	go func() { done <- c.run(t.Context()) }()
	eventually(t, func() bool { return strings.HasPrefix(c.status.Load().(string), "round 3 ") })
	failing.Store(true)
	err := <-done
	got := outcome{stderr: err.Error()}
	got.check(t, 0, "server b, round ", ": no login succeeded: ")
	if c.report.Rounds < 2 || int64(len(c.report.Servers[1].Rounds)) != int64(c.report.Rounds) {
		t.Errorf("%d rounds", c.report.Rounds)
	}
}

// Failed logins are counted with their reasons.
func TestCompareFailures(t *testing.T) {
	a := new(fake).open(t)
	var sessions atomic.Int64
	b := (&fake{session: func(channel gossh.Channel, requests <-chan *gossh.Request, _ gossh.Conn) {
		answer(channel, requests, message, uint32(sessions.Add(1)%2)*7)
	}}).open(t)
	got := knock(t, "compare", "a="+a.target(), "b="+b.target(), "--open", "--window", "200ms", "--rounds", "2", "-c", "2")
	got.check(t, 1, "\nb: ", " failed\n", " failed: Process exited with status 7", "error: not every login succeeded")
}

// Without the server's figures a round is not complete.
func TestCompareProcessEnds(t *testing.T) {
	a, b := new(fake).open(t), new(fake).open(t)
	c := newComparison([]*server{a.server(t), b.server(t)}, 1, 9, 20*time.Millisecond)
	c.servers[1].name = "b"
	c.servers[1].meter = &readings{make([]time.Duration, 12)} // four readings in each window
	err := c.run(t.Context())
	if err == nil || err.Error() != "server b, round 3: file does not exist" || c.report.Rounds != 2 {
		t.Errorf("%d rounds, %v", c.report.Rounds, err)
	}
}

// The complete rounds of an interrupted comparison are reported.
func TestCompareInterrupted(t *testing.T) {
	f := new(fake).open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := newComparison([]*server{f.server(t), f.server(t)}, 1, 1000, 20*time.Millisecond)
	done := make(chan error, 1)
	go func() { done <- c.run(ctx) }()
	eventually(t, func() bool { return strings.HasPrefix(c.status.Load().(string), "round 3 ") })
	cancel()
	if err := <-done; err != nil || !c.report.Interrupted || c.report.Rounds < 1 {
		t.Errorf("%d rounds, %v", c.report.Rounds, err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	got := knockContext(canceled, "compare", "a="+f.target(), "b="+f.target(), "--open")
	if got.status != 1 {
		t.Errorf("%+v", got)
	}
}
