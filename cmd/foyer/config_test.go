package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"foyer/cmd/foyer/settings"
	"foyer/middleware/sshtest"
)

// loadFile returns the settings that a file results in.
func loadFile(t *testing.T, text string) (*Config, []error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foyer.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := newConfig()
	cfg.File = path
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.String("config", "", "")
	if err := fs.Set("config", path); err != nil {
		t.Fatal(err)
	}
	return cfg, cfg.load(fs, func(string) string { return "" })
}

func eachSetting(check func(settings.Group, settings.Setting)) {
	for _, group := range newConfig().groups() {
		for _, setting := range group.Settings {
			check(group, setting)
		}
	}
}

// Each setting has a help, an example that is valid, a range, and a place in what "foyer config" prints.
func TestEverySetting(t *testing.T) {
	var printed, example bytes.Buffer
	newConfig().settings.Print(&printed)
	newConfig().settings.Example(&example)
	eachSetting(func(group settings.Group, setting settings.Setting) {
		name := setting.Name
		if len(setting.Help) < 15 || strings.HasSuffix(setting.Help, ".") || strings.Contains(setting.Help, "`") {
			t.Errorf("%s: the help is %q", name, setting.Help)
		}
		if !strings.Contains(printed.String(), "\n"+name+" = ") || !strings.Contains(example.String(), "\n#"+name+" = ") {
			t.Errorf("%s is not printed", name)
		}
		if value := setting.Value.String(); value == "" && setting.Example == "" {
			t.Errorf("%s has no example", name)
		} else if value != "" && setting.Value.Set(value) != nil {
			t.Errorf("%s does not accept its own default, %q", name, value)
		}
		switch value := setting.Value.(type) {
		case settings.Ranged:
			if least, most := value.Range(); least >= most || most > maxCount {
				t.Errorf("%s is from %d to %d", name, least, most)
			}
		case duration:
			if value.least >= value.most || value.most > year {
				t.Errorf("%s is from %s to %s", name, value.least, value.most)
			}
		}
		if same := []string{"penalties", "auth", "log", "share"}; group.Table == name && !slices.Contains(same, name) {
			t.Errorf("%s is a table and a setting", name)
		}
	})
}

// The example file in the packaging is what "foyer config --example" prints. Without its comment signs it is valid.
func TestExampleFile(t *testing.T) {
	var example bytes.Buffer
	newConfig().settings.Example(&example)
	file, err := os.ReadFile("packaging/foyer.toml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, example.Bytes()) {
		t.Error("packaging/foyer.toml is out of date; run: go run ./cmd/foyer config --example > cmd/foyer/packaging/foyer.toml")
	}
	whole := regexp.MustCompile(`(?m)^#([a-z\[])`).ReplaceAllString(example.String(), "$1")
	cfg, problems := loadFile(t, whole)
	if len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, whole)
	}
	if cfg.Message != "message.txt" || cfg.FailLog != "fail.log" || cfg.Revoked != "revoked_keys" || len(cfg.Networks.Exempt) != 1 {
		t.Errorf("the examples are not read: %+v", cfg)
	}
}

// What "foyer config" prints is a file that results in the same settings.
func TestPrintedSettings(t *testing.T) {
	cfg, problems := loadFile(t, `
listen = ["127.0.0.1:2022", "unix:/run/foyer.sock"]
[auth]
auth = "publickey+password"
[penalties]
penalty-exempt = ["192.0.2.0/24", "2001:db8::/32"]
penalty-sources = "24:48"
[deadlines]
session-timeout = "0"
[log]
log-level = "debug"
log-rate = -1
`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if len(cfg.Listen) != 2 || cfg.Session >= 0 || cfg.Networks.Bits4 != 24 || cfg.Rate != -1 {
		t.Errorf("read as %+v", cfg)
	}
	var printed bytes.Buffer
	cfg.settings.Print(&printed)
	again, problems := loadFile(t, printed.String())
	if len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, &printed)
	}
	if changes := cfg.settings.Changes(again.settings); len(changes) > 0 {
		t.Errorf("changed: %+v", changes)
	}
}

// The schema knows each setting in its table, and nothing else.
func TestSchema(t *testing.T) {
	var text bytes.Buffer
	if err := newConfig().settings.Schema(&text, "settings"); err != nil {
		t.Fatal(err)
	}
	type object struct {
		Properties           map[string]json.RawMessage
		AdditionalProperties *bool
	}
	read := func(from []byte) (o object) {
		if err := json.Unmarshal(from, &o); err != nil {
			t.Fatal(err)
		}
		if o.AdditionalProperties == nil || *o.AdditionalProperties {
			t.Errorf("other keys are accepted: %s", from)
		}
		return o
	}
	top := read(text.Bytes())
	eachSetting(func(group settings.Group, setting settings.Setting) {
		in := top
		if group.Table != "" {
			in = read(top.Properties[group.Table])
		}
		if len(in.Properties[setting.Name]) == 0 {
			t.Errorf("%s.%s is missing", group.Table, setting.Name)
		}
	})
}

// An editor's checker accepts the example file, and refuses one with problems.
func TestSchemaWithTaplo(t *testing.T) {
	taplo, err := exec.LookPath("taplo")
	sshtest.Need(t, "taplo", "npm install --prefix DIR @taplo/cli@0.7.0; export PATH=DIR/node_modules/.bin:$PATH", err == nil)
	dir := t.TempDir()
	var schema, example bytes.Buffer
	newConfig().settings.Example(&example)
	if err := newConfig().settings.Schema(&schema, "settings"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "schema.json"), schema.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		regexp.MustCompile(`(?m)^#([a-z\[])`).ReplaceAllString(example.String(), "$1"): "",
		"[limits]\nmax-session = 1\n":  "'max-session' was unexpected",
		"[limits]\nmax-sessions = 0\n": "less than the minimum",
		"pty = \"yes\"\n":              "is not one of",
	} {
		file := filepath.Join(dir, "foyer.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(taplo, "lint", "--schema", "file://"+filepath.Join(dir, "schema.json"), file).CombinedOutput()
		if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
			t.Errorf("%s\n%v: %s\nwant %q", text, err, out, want)
		}
	}
}
