package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// The error of an invalid value names its setting.
func TestValuesAreChecked(t *testing.T) {
	for _, arg := range []string{
		"--max-connections=-1", "--max-connections-per-source=-1", "--max-unauthenticated=-1",
		"--max-unauthenticated-per-source=-1", "--max-sessions=0", "--max-sessions-ever=0", "--handshake-timeout=0",
		"--idle-timeout=-1s", "--session-timeout=-1s", "--unread-timeout=0", "--keepalive=10ms", "--drain-timeout=0",
		"--listen=nonsense", "--listen=:70000", "--penalty-sources=0:64", "--penalty-sources=33:64", "--penalty-sources=32",
		"--penalty-exempt=x", "--penalty-exempt=192.0.2.1/24", "--auth=telepathy", "--auth=", "--pty=x", "--algorithms=x",
		"--log-level=x", "--log-level=INFO", "--log-format=x", "--max-sessions=x", "--idle-timeout=30",
	} {
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		newConfig().settings.AddFlags(fs)
		name, _, _ := strings.Cut(arg, "=")
		if err := fs.Parse([]string{arg}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

func TestValues(t *testing.T) {
	cfg := newConfig()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	cfg.settings.AddFlags(fs)
	if cfg.Handshake != 2*time.Minute || cfg.Session != 10*time.Minute || cfg.Sessions != 10 || len(cfg.Auth) != 2 {
		t.Errorf("the defaults are %+v", cfg)
	}
	err := fs.Parse([]string{
		"--auth=publickey+password", "--auth=password", "--penalty-exempt=192.0.2.0/24,2001:db8::/32", "--penalty-exempt=10.0.0.0/8",
		"--penalty-sources=24:48", "--session-timeout=0", "--log-level=debug", "--max-connections=5",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(cfg.Auth, " "); got != "publickey+password password" {
		t.Errorf("auth is %q", got)
	}
	if n := cfg.Networks; len(n.Exempt) != 3 || n.Bits4 != 24 || n.Bits6 != 48 {
		t.Errorf("the networks are %+v", n)
	}
	if cfg.Session >= 0 || fs.Lookup("session-timeout").Value.String() != "0" {
		t.Errorf("the session's limit is %s", cfg.Session)
	}
	if cfg.Level.String() != "DEBUG" || fs.Lookup("log-level").Value.String() != "debug" || cfg.Connections != 5 {
		t.Errorf("%+v", cfg)
	}
}

// The default log format is text at a terminal, and logfmt elsewhere.
func TestLogFormat(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	file, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		format string
		file   *os.File
		want   string
	}{
		{"auto", terminal, "text"}, {"auto", file, "logfmt"}, {"text", file, "text"}, {"logfmt", terminal, "logfmt"}, {"json", file, "json"},
	} {
		cfg := &Config{LogFormat: tt.format}
		if cfg.useLog(tt.file); cfg.Format != tt.want {
			t.Errorf("%s to %s is %s, want %s", tt.format, tt.file.Name(), cfg.Format, tt.want)
		}
	}
}
