package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	gossh "golang.org/x/crypto/ssh"

	"foyer/cmd/cli"
)

// patience is beyond what anything takes on a busy machine.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){"knock": main})
}

// leakless fails a run of tests that leaves a goroutine behind.
type leakless struct{ *testing.M }

func (m leakless) Run() int {
	status := m.M.Run()
	if err := goleak.Find(); err != nil && status == 0 {
		_, _ = os.Stderr.WriteString(err.Error())
		return 1
	}
	return status
}

// knocked is what became of a command line.
type knocked struct {
	stdout, stderr string
	status         int
}

// knock runs a command line in this process.
func knock(t *testing.T, args ...string) knocked {
	t.Helper()
	return knockUntil(t.Context(), args...)
}

func knockUntil(ctx context.Context, args ...string) knocked {
	var stdout, stderr bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	status := cli.Run(ctx, root)
	return knocked{stdout.String(), stderr.String(), status}
}

// write makes a file for the test.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMisuse(t *testing.T) {
	t.Setenv(passwordVariable, "")
	missing := filepath.Join(t.TempDir(), "missing")
	locked := write(t, "locked", lockedKey(t))
	for _, tt := range []struct {
		name, args    string
		problem, hint string
	}{
		{"no target", "", "knock takes USER@HOST:PORT, and was given 0", "knock --help"},
		{"two targets", "a@localhost b@localhost", "was given 2", "knock --help"},
		{"no user", "localhost:22", `target "localhost:22" names no user`, "guest@localhost:2022"},
		{"an unknown flag", "--what a@localhost", "unknown flag: --what", "knock --help"},
		{"no password on the command line", "--password x a@localhost", "unknown flag: --password", "knock --help"},
		{"elsewhere", "guest@192.0.2.1", "192.0.2.1, which is not loopback", "--i-own-this-host"},
		{"elsewhere, held", "hold 5 guest@192.0.2.1", "not loopback", "--i-own-this-host"},
		{"elsewhere, silent", "preauth 5 guest@192.0.2.1", "not loopback", "--i-own-this-host"},
		{"elsewhere, compared", "compare a=g@127.0.0.1 b=g@192.0.2.1 --open", "door b: 192.0.2.1 is at 192.0.2.1, which is not loopback", "--i-own-this-host"},
		{"nothing to log in with", "guest@127.0.0.1", "no key and no password", "KNOCK_PASSWORD"},
		{"too many at a time", "guest@127.0.0.1 --open -c 300000000 -n 1", "300000000 visitors at a time: there are descriptors for", "ulimit -n"},
		{"too many to compare", "compare a=guest@127.0.0.1 b=guest@127.0.0.1 --open -c 300000000", "300000000 visitors at a time", "ulimit -n"},
		{"too many to hold", "hold 300000000 guest@127.0.0.1 --open", "300000000 connections: there are descriptors for", "ulimit -n"},
		{"a missing key", "guest@127.0.0.1 --key " + missing, "read the key: open", "knock --help"},
		{"a locked key", "guest@127.0.0.1 --key " + locked, "has a passphrase", "ssh-keygen"},
		{"no key", "guest@127.0.0.1 --key " + write(t, "id.pub", "ssh-ed25519 AAAA"), "read the key", ".pub"},
		{"a missing password", "guest@127.0.0.1 --password-file " + missing, "read the password", "knock --help"},
		{"an empty password", "guest@127.0.0.1 --password-file " + write(t, "empty", "\n"), "is empty", "knock --help"},
		{"missing bytes", "guest@127.0.0.1 --open --expect " + missing, "read what to expect", "knock --help"},
		{"an unknown kex", "guest@127.0.0.1 --kex rot13", `--kex: there is no "rot13"`, "curve25519-sha256"},
		{"an unknown cipher", "guest@127.0.0.1 --cipher rot13", `--cipher: there is no "rot13"`, "chacha20-poly1305@openssh.com"},
		{"an unknown host key", "guest@127.0.0.1 --hostkey-algorithm rot13", `there is no "rot13"`, "ssh-ed25519"},
		{"no such process", "guest@127.0.0.1 --open --pid 999999999", "there is no process 999999999", "knock --help"},
		{"no process", "guest@127.0.0.1 --open --pid 0", `--pid: "0" is no number of a process`, "knock --help"},
		{"less than no process", "hold 1 guest@127.0.0.1 --open --pid -1", `--pid: "-1" is no number of a process`, "knock hold --help"},
		{"no process of a door", "compare a=guest@127.0.0.1,pid=0 b=guest@127.0.0.1", `door a: "0" is no number of a process`, "NAME="},
		{"no file of a password", "guest@127.0.0.1 --password-file /", "read the password: read /", "knock --help"},
		{"no such cgroup", "guest@127.0.0.1 --open --cgroup " + missing, "cgroup's CPU time", "/sys/fs/cgroup"},
		{"two meters", "guest@127.0.0.1 --open --pid 1 --cgroup /x", "the same thing", "leave out"},
		{"a negative rate", "guest@127.0.0.1 --open --rate -1", "rate -1", "--rate 200"},
		{"no rate at all", "guest@127.0.0.1 --open --rate nan", "rate NaN", "--rate 200"},
		{"a negative count", "guest@127.0.0.1 --open -n -1", "count -1", "more than 0"},
		{"no time", "guest@127.0.0.1 --open --timeout 0", "timeout 0s", "--timeout 30s"},
		{"no number", "hold many guest@127.0.0.1", `"many" connections`, "knock hold 1000"},
		{"nothing to hold", "hold 0 guest@127.0.0.1", `"0" connections`, "knock hold 1000"},
		{"one door", "compare a=guest@127.0.0.1", "knock compare takes DOOR DOOR [DOOR...], and was given 1", "knock compare --help"},
		{"a door without a name", "compare guest@127.0.0.1 b=guest@127.0.0.1", "has no name", "NAME=USER@HOST:PORT"},
		{"two doors of a name", "compare a=guest@127.0.0.1 a=guest@127.0.0.1 --open", "two doors are called a", "something else"},
		{"what no door has", "compare a=guest@127.0.0.1,color=red b=guest@127.0.0.1", `door a: there is no "color"`, "NAME="},
		{"what says nothing", "compare a=guest@127.0.0.1,pid b=guest@127.0.0.1", `"pid" is not name=value`, "NAME="},
		{"a process without a number", "compare a=guest@127.0.0.1,pid=x b=guest@127.0.0.1", `door a: "x" is no number of a process`, "NAME="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := knock(t, strings.Fields(tt.args)...)
			if got.status != 2 || got.stdout != "" {
				t.Errorf("status %d, stdout %q", got.status, got.stdout)
			}
			if !strings.Contains(got.stderr, "error: ") || !strings.Contains(got.stderr, tt.problem) {
				t.Errorf("no error with %q:\n%s", tt.problem, got.stderr)
			}
			if _, hint, _ := strings.Cut(got.stderr, "hint: "); !strings.Contains(hint, tt.hint) {
				t.Errorf("no hint with %q:\n%s", tt.hint, got.stderr)
			}
		})
	}
}

// lockedKey returns a private key with a passphrase.
func lockedKey(t *testing.T) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func TestHelpSaysWhatIsChecked(t *testing.T) {
	got := knock(t, "--help")
	for _, want := range []string{"not checked", "--i-own-this-host", "KNOCK_PASSWORD", "judged by what was done until then", "hold", "preauth", "compare"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the help has no %q:\n%s", want, got.stdout)
		}
	}
}

func TestTable(t *testing.T) {
	f := new(fake).open(t)
	got := knock(t, f.target(), "--open", "-n", "20", "--expect", write(t, "expected", message))
	if got.status != 0 || got.stderr != "" {
		t.Fatalf("status %d, stderr %q", got.status, got.stderr)
	}
	for _, want := range []string{
		"door     " + f.target() + " at " + f.address, "SSH-2.0-fake", "ssh-ed25519", "20 logins in ", "none failed",
		"p50       p90       p99       max", "connect", "key exchange", "authentication", "first byte", "whole login", "knock's CPU",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the table has no %q:\n%s", want, got.stdout)
		}
	}
	if f.visitors() != 20 {
		t.Errorf("%d visitors came", f.visitors())
	}
}

// TestUnwritten: a report that nobody got is no success, in whichever form.
func TestUnwritten(t *testing.T) {
	f := new(fake).open(t)
	for _, args := range [][]string{
		{f.target(), "--open", "-n", "1"},
		{f.target(), "--open", "-n", "1", "--json"},
		{"hold", "1", f.target(), "--open", "--for", "0s"},
		{"compare", "a=" + f.target(), "b=" + f.target(), "--open", "--rounds", "1", "--window", "50ms"},
	} {
		var stderr bytes.Buffer
		full, writer := io.Pipe()
		_ = full.CloseWithError(syscall.ENOSPC)
		root := newRoot()
		root.SetArgs(args)
		root.SetOut(writer)
		root.SetErr(&stderr)
		if status := cli.Run(t.Context(), root); status != 1 || !contains(stderr.String(), "error: write the report: no space left on device") {
			t.Errorf("%q: status %d, stderr %q", args, status, &stderr)
		}
	}
}

// TestJSON fixes the names that programs go by.
func TestJSON(t *testing.T) {
	f := new(fake).open(t)
	pid := "--pid=" + strconv.Itoa(os.Getpid())
	doors := []string{"a=" + f.target() + ",open=true,pid=" + strconv.Itoa(os.Getpid()), "b=" + f.target() + ",open=true"}
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"login", []string{f.target(), "--open", "-n", "20", pid}},
		{"open", []string{f.target(), "--open", "-n", "20", "--rate", "200"}},
		{"hold", []string{"hold", "5", f.target(), "--open", "--for", "0s", pid}},
		{"preauth", []string{"preauth", "5", f.target(), "--for", "0s", pid}},
		{"compare", append([]string{"compare", "--rounds", "1", "--window", "50ms"}, doors...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := knock(t, append(tt.args, "--json")...)
			if got.status != 0 {
				t.Fatalf("status %d, stderr %q", got.status, got.stderr)
			}
			var document any
			if err := json.Unmarshal([]byte(got.stdout), &document); err != nil {
				t.Fatalf("%v:\n%s", err, got.stdout)
			}
			names := strings.Join(fieldNames("", document), "\n") + "\n"
			golden := filepath.Join("testdata", "json", tt.name+".txt")
			if os.Getenv("KNOCK_UPDATE") == "1" {
				if err := os.WriteFile(golden, []byte(names), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(golden); err != nil || string(want) != names {
				t.Errorf("%v; the names are\n%s", err, names)
			}
		})
	}
}

// fieldNames are the paths of all fields, in order; a list stands for its first element.
func fieldNames(path string, value any) (names []string) {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			names = append(names, fieldNames(strings.TrimPrefix(path+"."+name, "."), inner)...)
		}
		slices.Sort(names)
		return names
	case []any:
		if len(value) > 0 {
			return fieldNames(path+"[]", value[0])
		}
	}
	return []string{path}
}
