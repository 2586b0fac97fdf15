package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"foyer/hostkeys"
	"foyer/middleware/sshtest"
)

// The version line has the server's name and no version number (RFC 4253 section 4.2).
func TestVersionLine(t *testing.T) {
	srv := startServer(t)
	conn, err := net.Dial("tcp", net.JoinHostPort(host, srv.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(sshtest.Patience))
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "SSH-2.0-foyer\r\n" {
		t.Errorf("the version line is %q, %v", line, err)
	}
}

// unknownToAudit are findings of ssh-audit 2.5.0 (Debian 12, of 2021) to ignore: it does not know these names. Newer
// versions do, and recommend them.
var unknownToAudit = []string{
	"mlkem768x25519-sha256: unknown algorithm",        // in OpenSSH since 9.9, its default since 10.0
	"kex-strict-s-v00@openssh.com: unknown algorithm", // not an algorithm: it announces the strict key exchange (OpenSSH 9.6)
}

func TestSSHAudit(t *testing.T) {
	for _, tt := range []struct{ keyTypes, shown string }{
		{"", "ssh-ed25519"}, // a first start
		{"rsa", "rsa-sha2-256 rsa-sha2-512"},
		{"ecdsa ed25519 rsa", "ssh-ed25519 rsa-sha2-256 rsa-sha2-512"},
	} {
		t.Run("keys: "+tt.keyTypes, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "hostkeys")
			for _, keyType := range strings.Fields(tt.keyTypes) {
				if _, err := hostkeys.Create(dir, keyType); err != nil {
					t.Fatal(err)
				}
			}
			srv := startServer(t, "--hostkeys", dir, "--penalty-exempt", "127.0.0.0/8", "--algorithms", "strict")
			seen, findings := audit(t, srv)
			if got := strings.Join(seen.names(), " "); got != tt.shown {
				t.Errorf("the audit saw the host keys %q, want %q", got, tt.shown)
			}
			for _, finding := range findings {
				if !slices.Contains(unknownToAudit, finding) {
					t.Error(finding)
				}
			}
		})
	}
}

// By default the audit finds NIST curves and encrypt-and-MAC, and nothing else.
func TestSSHAuditDefault(t *testing.T) {
	_, findings := audit(t, startServer(t, "--penalty-exempt", "127.0.0.0/8"))
	for _, finding := range findings {
		algorithm, reason, _ := strings.Cut(finding, ": ")
		expected := strings.HasPrefix(algorithm, "ecdh-sha2-nistp") && strings.Contains(reason, "elliptic curves") ||
			strings.HasPrefix(algorithm, "hmac-sha2-") && reason == "using encrypt-and-MAC mode"
		if !expected && !slices.Contains(unknownToAudit, finding) {
			t.Error(finding)
		}
	}
	if len(findings) < 5 {
		t.Errorf("only %q", findings)
	}
}

// The audit finds what is weak in set compat, so an empty list of findings means something.
func TestSSHAuditFinds(t *testing.T) {
	srv := startServer(t, "--algorithms", "compat", "--penalty-exempt", "127.0.0.0/8", "--hostkeys", rsaKeys(t))
	_, findings := audit(t, srv)
	for _, want := range []string{
		"ecdh-sha2-nistp256: using weak elliptic curves",
		"diffie-hellman-group14-sha1: using weak hashing algorithm",
		"ssh-rsa: using weak hashing algorithm",
		"hmac-sha2-256: using encrypt-and-MAC mode",
	} {
		if !slices.Contains(findings, want) {
			t.Errorf("no %q in %q", want, findings)
		}
	}
}

// audited is the output of ssh-audit -j. Before ssh-audit 3 it has no notes on algorithms, which are in the text only.
type audited struct {
	Banner struct{ Raw string }
	Key    []struct{ Algorithm string }
}

func (a audited) names() (names []string) {
	for _, key := range a.Key {
		names = append(names, key.Algorithm)
	}
	return names
}

// finding is a line of the text with a warning or a failure: "(mac) hmac-sha1 -- [fail] using weak …".
var finding = regexp.MustCompile(`^\(\w+\) (\S+).* -- \[(?:fail|warn)\] (.*)$`)

// audit runs ssh-audit, and returns its output and each failure and warning as "algorithm: reason".
func audit(t *testing.T, srv *process) (seen audited, findings []string) {
	t.Helper()
	_, err := exec.LookPath("ssh-audit")
	sshtest.Need(t, "ssh-audit", "apt-get install ssh-audit", err == nil)
	run := func(flags ...string) []byte {
		// The exit status is 1 where the audit could not connect; 2 and 3 stand for warnings and failures.
		cmd := exec.CommandContext(t.Context(), "ssh-audit", append(flags, "-p", srv.port, host)...)
		out, _ := cmd.Output()
		if code := cmd.ProcessState.ExitCode(); code != 0 && code != 2 && code != 3 {
			t.Fatalf("%s: exit status %d\n%s", cmd, code, out)
		}
		return out
	}
	if err := json.Unmarshal(run("-j"), &seen); err != nil {
		t.Fatal(err)
	}
	if seen.Banner.Raw != "SSH-2.0-foyer" {
		t.Errorf("the audit saw %q", seen.Banner.Raw)
	}
	for line := range strings.Lines(string(run("-n", "-b", "-l", "warn"))) {
		line = strings.TrimSpace(line)
		if match := finding.FindStringSubmatch(line); match != nil {
			findings = append(findings, match[1]+": "+match[2])
		} else if strings.Contains(line, "[fail]") || strings.Contains(line, "[warn]") {
			findings = append(findings, line)
		}
	}
	return seen, findings
}
