package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"foyer/cmd/foyer/settings"
)

const someRules = `
[groups]
staff = ["alice", "bob"]
suspended = "mallory"

[[answer]]
groups = "staff"
networks = ["192.0.2.0/24"]
terminal = true
text = "Hi {user}!"

[[answer]]
request = "exec"
command = "git-*-pack '*old/*'"
not-users = ["carol"]
methods = ["publickey+password", "none"]
text = """
This repository moved.
Really: {{user}.
"""
exit = 3

[[notice]]
text = "Maintenance."
from = 2026-12-03T00:00:00Z
until = 2026-12-06T04:00:00+02:00

[banner]
text = "Hello {address}"

[sentences]
commands = "No {command} here, {user}."
`

// The rules are read, and printed as a file with the same rules.
func TestRules(t *testing.T) {
	cfg, problems := loadFile(t, someRules)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	r := cfg.rules
	if len(r.Answers) != 2 || len(r.Notices) != 1 || r.Banner == nil || len(r.Groups) != 2 || len(r.sentences) != 1 {
		t.Fatalf("read as %+v", r)
	}
	if a := r.Answers[0]; a.Groups[0] != "staff" || !*a.Terminal || a.Networks[0].String() != "192.0.2.0/24" || a.Exit != nil {
		t.Errorf("the first answer is %+v", a)
	}
	if a := r.Answers[1]; *a.Exit != 3 || a.Command[0] != "git-*-pack '*old/*'" || a.NotUsers[0] != "carol" || len(a.Methods) != 2 {
		t.Errorf("the second answer is %+v", a)
	}
	if n := r.Notices[0]; !n.Until.Equal(time.Date(2026, 12, 6, 2, 0, 0, 0, time.UTC)) {
		t.Errorf("the notice is %+v", n)
	}
	if problems, warnings := cfg.checkRules(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)); len(problems)+len(warnings) > 0 {
		t.Error(problems, warnings)
	}
	var printed bytes.Buffer
	cfg.settings.Print(&printed)
	again, problems := loadFile(t, printed.String())
	if len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, &printed)
	}
	if changed := cfg.settings.ChangedTables(again.settings); len(changed) > 0 {
		t.Errorf("changed: %q\n%s", changed, &printed)
	}
}

func TestRuleProblems(t *testing.T) {
	now := time.Date(2026, 12, 6, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"[[answer]]\nnetworks = \"192.0.2.1/24\"\ntext = \"a\"":  "2:12: network 192.0.2.1/24 has host bits: write 192.0.2.0/24",
		"[[answer]]\nmethods = \"passwrd\"\ntext = \"a\"":        `2:11: unknown method "passwrd"`,
		"[[answer]]\nexit = 4096\ntext = \"a\"":                  "2:8: 4096 is not an exit status",
		"[[answer]]\nusers = \"a\"":                              "1:3: a rule needs a text or a file",
		"[[answer]]\nfile = \"none.md\"":                         "2:8: none.md: no such file or directory",
		"[[answer]]\ngroups = \"stuff\"\ntext = \"a\"":           `2:10: unknown group "stuff"`,
		"[[answer]]\ntext = \"{usr}\"":                           "2:8: unknown placeholder {usr}",
		"[banner]\ntext = \"{user}\"":                            "1:2: a banner cannot have the placeholder {user}",
		"[sentences]\nfiles = \"{usr}\"":                         "2:9: line 1: unknown placeholder {usr}",
		"[[notice]]\nuntil = 2026-12-05T00:00:00Z\ntext = \"a\"": "2:9: 2026-12-05T00:00:00Z has passed",
		"[groups]\nstaff = []":                                   `2:1: group "staff" has no users`,
		"[[answer]]\ntext = \"a\"\n[[answer]]\ntext = \"b\"":     "3:3: is never said: the answer at ",
	} {
		cfg, problems := loadFile(t, text)
		more, warnings := cfg.checkRules(now)
		problems = append(append(problems, more...), warnings...)
		if len(problems) != 1 || !strings.Contains(problems[0].Error(), "foyer.toml:"+want) {
			t.Errorf("%s:\n%v\nwant %s", text, problems, want)
			continue
		}
		if _, ok := problems[0].(*settings.Problem); !ok {
			t.Errorf("%s: a %T", text, problems[0])
		}
	}
}
