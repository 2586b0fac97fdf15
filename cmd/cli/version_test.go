package cli

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-11-29T16:00:00Z"}}
	for name, tt := range map[string]struct {
		main     string
		settings []debug.BuildSetting
		want     string
	}{
		"go run":       {"", nil, "of an unknown revision, built with go1.27.3"},
		"go test":      {"(devel)", nil, "of an unknown revision, built with go1.27.3"},
		"go install":   {"v1.2.3", nil, "v1.2.3, built with go1.27.3"},
		"go build":     {"v0.0.0-20261129160000-0123456789ab", vcs, "0123456789ab of 2026-11-29, built with go1.27.3"},
		"with changes": {"(devel)", append(vcs, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "0123456789ab of 2026-11-29, with changes, built with go1.27.3"},
	} {
		info := &debug.BuildInfo{GoVersion: "go1.27.3", Main: debug.Module{Path: "foyer", Version: tt.main}, Settings: tt.settings}
		if got := version(info); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
