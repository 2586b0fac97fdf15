package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"foyer/cmd/cli"
)

func TestDerivedLimits(t *testing.T) {
	for _, tt := range []struct {
		descriptors int
		given, want Limits
	}{
		{1 << 20, Limits{}, Limits{Connections: 4096, PerSource: 2048, Unauthenticated: 1024, UnauthenticatedPerSource: 512, farewells: 256}},
		{1024, Limits{}, Limits{Connections: 960, PerSource: 480, Unauthenticated: 480, UnauthenticatedPerSource: 240, farewells: 16}},
		{400, Limits{}, Limits{Connections: 336, PerSource: 168, Unauthenticated: 168, UnauthenticatedPerSource: 84, farewells: 16}},
		{20, Limits{}, Limits{Connections: 10, PerSource: 5, Unauthenticated: 5, UnauthenticatedPerSource: 2, farewells: 1}},
		{1, Limits{}, Limits{Connections: 1, PerSource: 1, Unauthenticated: 1, UnauthenticatedPerSource: 1, farewells: 1}},
		{1024, Limits{Connections: 100, Unauthenticated: 80},
			Limits{Connections: 100, PerSource: 50, Unauthenticated: 80, UnauthenticatedPerSource: 40, farewells: 256}},
	} {
		got := tt.given
		got.derive(tt.descriptors)
		if got != tt.want {
			t.Errorf("%d descriptors: %+v becomes %+v, want %+v", tt.descriptors, tt.given, got, tt.want)
		}
	}
}

func TestLimitsAreChecked(t *testing.T) {
	for _, args := range []string{
		"--max-connections=-1", "--max-connections=1000000000", "--max-connections-per-source=-1", "--max-unauthenticated=-1",
		"--max-unauthenticated-per-source=-1", "--max-sessions=0", "--max-sessions-ever=0", "--handshake-timeout=0",
		"--idle-timeout=-1s", "--session-timeout=0", "--unread-timeout=0", "--keepalive=10ms", "--drain-timeout=0",
	} {
		cfg := &Config{}
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		cfg.addFlags(fs)
		if err := fs.Parse([]string{args}); err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(args, "--"), "=")
		if err := cfg.Validate(); !cli.IsUsage(err) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	cfg := &Config{}
	cfg.addFlags(pflag.NewFlagSet("", pflag.ContinueOnError))
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if cfg.Connections < 1 || cfg.Handshake != 30*time.Second || cfg.Session != 10*time.Minute || cfg.Sessions != 10 {
		t.Errorf("%+v, %+v", cfg.Limits, cfg.Deadlines)
	}
}
