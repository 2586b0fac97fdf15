package maintenance_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"foyer/middleware/content"
	"foyer/middleware/maintenance"
	"foyer/middleware/share"
	"foyer/middleware/sshtest"
)

// at is a time that the tests count from.
var at = time.Date(2026, 12, 6, 2, 0, 0, 0, time.UTC)

func open(t *testing.T, path string, dated *content.Rule) (*maintenance.Maintenance, *sshtest.Log) {
	t.Helper()
	log := sshtest.NewLog()
	m, err := maintenance.Open(maintenance.Config{
		Path: path, Groups: map[string][]string{"staff": {"alice"}}, Dated: dated, Texts: content.NewTexts(filepath.Dir(path), nil), Log: log.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, log
}

// page returns what a user reads.
func page(m *maintenance.Maintenance, user string, now time.Time) string {
	visit := &content.Visit{User: user, Now: now}
	match, found := m.Page(visit)
	if !found {
		return ""
	}
	return match.Text(visit, content.View{})
}

// The switch is seen at once, ends by itself, and is logged once.
func TestSwitch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "maintenance.json")
	m, log := open(t, path, nil)
	if got := page(m, "bob", at); got != "" || m.On(at) {
		t.Errorf("off: %q", got)
	}
	if err := maintenance.Write(path, maintenance.State{Until: at.Add(2 * time.Hour), ExceptGroups: []string{"staff"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, want := page(m, "bob", at), "This server is under maintenance until 2026-12-06 04:00 UTC. Please come back in 2 hours."; got != want {
			t.Errorf("on: %q, want %q", got, want)
		}
	}
	if got := page(m, "alice", at); got != "" || !m.On(at) {
		t.Errorf("alice reads %q", got)
	}
	restarted, _ := open(t, path, nil)
	if !restarted.On(at) || restarted.On(at.Add(2*time.Hour)) {
		t.Error("it does not survive a restart, or does not end")
	}
	if err := maintenance.Write(path, maintenance.State{Text: "Later."}); err != nil {
		t.Fatal(err)
	}
	if got := page(m, "alice", at.Add(1000*time.Hour)); got != "Later." {
		t.Errorf("without an end: %q", got)
	}
	if removed, err := maintenance.Remove(path); !removed || err != nil {
		t.Error(removed, err)
	}
	if removed, err := maintenance.Remove(path); removed || err != nil {
		t.Error(removed, err)
	}
	if m.On(at) {
		t.Error("still on")
	}
	want := "level=WARN msg=\"maintenance on\" path=" + path + " until=2026-12-06T04:00:00Z\nlevel=INFO msg=\"maintenance off\"\n"
	if got := strings.ToLower(log.String()); got != strings.ToLower(want) {
		t.Errorf("the log is\n%swant\n%s", got, want)
	}
}

// A switch that is broken stays as it was, and is reported once. A server does not start with one.
func TestBrokenSwitch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "maintenance.json")
	if err := maintenance.Write(path, maintenance.State{Text: "Wait."}); err != nil {
		t.Fatal(err)
	}
	m, log := open(t, path, nil)
	for _, text := range []string{"{", `{"txt": "a"}`, `{"text": "{user}"}`, `{"file": "none.txt"}`, `{"except-groups": ["stuff"]}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(log.String(), "keeping the last good version")
		for range 3 {
			if got := page(m, "bob", at); got != "Wait." {
				t.Errorf("%s: %q", text, got)
			}
		}
		if got := strings.Count(log.String(), "keeping the last good version") - before; got != 1 {
			t.Errorf("%s: reported %d times\n%s", text, got, log)
		}
		if _, err := maintenance.Open(maintenance.Config{Path: path, Texts: content.NewTexts(".", nil), Log: log.Logger()}); err == nil {
			t.Errorf("%s: opened", text)
		}
	}
}

// A switch that cannot be said here, as with a group that this server does not know, closes the server for everybody.
func TestSwitchThatCannotBeSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "maintenance.json")
	m, _ := open(t, path, nil)
	if m.On(at) {
		t.Fatal("on without a switch")
	}
	if err := maintenance.Write(path, maintenance.State{ExceptGroups: []string{"stuff"}}); err != nil {
		t.Fatal(err)
	}
	if got := page(m, "bob", at); !strings.HasPrefix(got, "This server is under maintenance") || !m.On(at) {
		t.Errorf("bob reads %q", got)
	}
}

// Maintenance by date begins and ends by itself; the switch goes first.
func TestByDate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "maintenance.json")
	m, log := open(t, path, &content.Rule{Text: "Planned, until {until}.", From: at, Until: at.Add(time.Hour)})
	for offset, want := range map[time.Duration]string{-time.Second: "", 0: "Planned, until 2026-12-06 03:00 UTC.", time.Hour: ""} {
		if got := page(m, "bob", at.Add(offset)); got != want || m.On(at.Add(offset)) != (want != "") {
			t.Errorf("after %s: %q, want %q", offset, got, want)
		}
	}
	if err := maintenance.Write(path, maintenance.State{Text: "At once."}); err != nil {
		t.Fatal(err)
	}
	if got := page(m, "bob", at); got != "At once." {
		t.Error(got)
	}
	log.Line(t, "maintenance on", "until=2026-12-06T03:00:00Z")
}

// The switch that servers share is used after the file and before the date. One that is invalid here changes nothing, and is
// reported once.
func TestShared(t *testing.T) {
	path, log := filepath.Join(t.TempDir(), "maintenance.json"), sshtest.NewLog()
	var shared *share.Switch
	m, err := maintenance.Open(maintenance.Config{
		Path: path, Groups: map[string][]string{"staff": {"alice"}}, Dated: &content.Rule{Text: "Planned.", From: at, Until: at.Add(time.Hour)},
		Shared: func() *share.Switch { return shared }, Texts: content.NewTexts(filepath.Dir(path), nil), Log: log.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	reads := func(user, want string) {
		t.Helper()
		if got := page(m, user, at); got != want {
			t.Errorf("%s reads %q, want %q", user, got, want)
		}
	}
	reads("bob", "Planned.")
	shared = &share.Switch{On: true, Text: "Everywhere.", ExceptGroups: []string{"staff"}}
	reads("bob", "Everywhere.")
	reads("alice", "Planned.")
	for range 2 {
		shared = &share.Switch{On: true, Text: "{user}"}
		reads("bob", "Everywhere.")
		reads("bob", "Everywhere.")
	}
	if got := strings.Count(log.String(), "shared maintenance is invalid"); got != 2 {
		t.Errorf("reported %d times\n%s", got, log)
	}
	if err := maintenance.Write(path, maintenance.State{Text: "Here."}); err != nil {
		t.Fatal(err)
	}
	reads("bob", "Here.")
	if _, err := maintenance.Remove(path); err != nil {
		t.Fatal(err)
	}
	shared = &share.Switch{}
	reads("bob", "Planned.")
}
