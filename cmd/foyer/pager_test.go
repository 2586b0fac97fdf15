//go:build !windows

package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"foyer/middleware/sshtest"
)

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident returns the memory of the process in MiB.
func (p *process) resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip(err)
	}
	kib, err := strconv.Atoi(residentLine.FindStringSubmatch(string(status))[1])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// Visitors who read in the pager cost no more than 1.25 MiB each.
func TestPagerMemory(t *testing.T) {
	const visitors, most = 200, 250
	srv := startWithFile(t, map[string]string{
		"foyer.toml": "pty = \"accept\"\nauth.open = true\n[[answer]]\nfile = \"page.md\"\n", "page.md": strings.Repeat("# Welcome\n\nA paragraph.\n\n", 200),
	})
	server := &sshtest.Server{Address: "127.0.0.1:" + srv.port}
	before := srv.resident(t)
	for range visitors {
		server.Terminal(t, sshtest.Visit{Term: "xterm-256color"}).Expect("q: quit")
	}
	used := srv.resident(t) - before
	t.Logf("%d visitors use %d MiB", visitors, used)
	if used > most*bulk {
		t.Errorf("%d visitors use %d MiB", visitors, used)
	}
}
