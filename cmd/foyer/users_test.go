package main

import (
	"log/slog"
	"testing"

	"github.com/spf13/pflag"
)

// --penalty-sources also sets the prefixes by which the queue for password hashes counts sources.
func TestPasswordsUsePenaltySources(t *testing.T) {
	for value, want := range map[string][2]int{"": {32, 64}, "24:48": {24, 48}} {
		cfg := newConfig()
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		cfg.settings.AddFlags(fs)
		if value != "" {
			if err := fs.Set("penalty-sources", value); err != nil {
				t.Fatal(err)
			}
		}
		networks := passwordOptions(cfg, slog.Default()).Networks
		if got := [2]int{networks.Bits4, networks.Bits6}; got != want {
			t.Errorf("with --penalty-sources %q the bits are %v, want %v", value, got, want)
		}
	}
}
