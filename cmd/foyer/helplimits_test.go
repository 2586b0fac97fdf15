package main

import (
	"regexp"
	"testing"

	"github.com/spf13/pflag"
)

// Each setting that the topic names exists.
func TestLimitsTopicNamesSettings(t *testing.T) {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	newConfig().settings.AddFlags(fs)
	names := regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(limitsTopic().Long, -1)
	if len(names) < 8 {
		t.Fatalf("the topic names %d settings", len(names))
	}
	for _, name := range names {
		if fs.Lookup(name[1]) == nil {
			t.Errorf("the topic names --%s, which is not a setting", name[1])
		}
	}
}
