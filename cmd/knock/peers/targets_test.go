package main

import (
	"os"
	"strings"
	"testing"
)

// Whoever logs in is among the many, and comes last.
func TestPeople(t *testing.T) {
	h := &house{dir: t.TempDir()}
	for name, text := range map[string]string{
		"foyer/ssh-passwords": "# a comment\nguest:$argon2id$x\n", "authorized_keys": "ssh-ed25519 AAAA\n",
	} {
		if err := h.write(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags, err := h.people(3, 2)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(flags[1])
	if want := "user0:$argon2id$x\nuser1:$argon2id$x\nguest:$argon2id$x\n"; err != nil || string(text) != want {
		t.Errorf("the password file is %q, %v", text, err)
	}
	for _, name := range []string{"guest", "user0"} {
		if key, err := os.ReadFile(flags[3] + "/" + name); err != nil || string(key) != "ssh-ed25519 AAAA\n" {
			t.Errorf("%s has the key %q, %v", name, key, err)
		}
	}
	if err := h.write("foyer/ssh-passwords", []byte("nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.people(3, 2); err == nil {
		t.Error("guest was found in a file without guest")
	}
}

// Whoever was told why is not among those who were neither served nor told.
func TestMute(t *testing.T) {
	came := &loginReport{Failures: []failure{
		{Reason: "the server said: too many visitors", Count: 7}, {Reason: "key exchange: broken pipe", Count: 2}, {Reason: "timed out", Count: 1},
	}}
	if got := mute(came); got != 3 {
		t.Errorf("%d of 10", got)
	}
}

func TestTargetTable(t *testing.T) {
	b := &bench{report: &report{}}
	b.found("p99 to p50", "under 5", "%.1f: %s", 4.1, ms(26.6))
	if got, want := b.report.markdown(), "| p99 to p50 | under 5 | 4.1: 26.6 ms |"; !strings.Contains(got, want) {
		t.Errorf("there is no %q in\n%s", want, got)
	}
	if got := b.report.markdown(); strings.Contains(got, "Logins by") {
		t.Errorf("there are tables of peers that were not measured in\n%s", got)
	}
}

// Every door that a measurement names is on THE LIST.
func TestNamed(t *testing.T) {
	if got := names(named(itself, again, compat, floor, "bare")); len(got) != 5 {
		t.Errorf("there are only %v", got)
	}
	for _, d := range doors() {
		if rival := d.rival(); rival != "" && len(named(rival)) == 0 {
			t.Errorf("%s is compared with %q, which is no door", d.name, rival)
		}
	}
}
