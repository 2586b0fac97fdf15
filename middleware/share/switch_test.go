package share_test

import (
	"strings"
	"testing"
	"time"

	"foyer/middleware/share"
	"foyer/middleware/sshtest"
)

// The switch is stored, told to all, set again only if it is absent, and expires.
func TestEngineSwitch(t *testing.T) {
	engines(t, func(t *testing.T, engine share.Engine) {
		a, seen := open(t, engine)
		b, _ := open(t, engine)
		read := func() *share.Switch {
			t.Helper()
			s, err := share.ReadSwitch(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		set := func(s share.Switch, absent bool) {
			t.Helper()
			if err := share.SetSwitch(t.Context(), a, s, absent); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(); got != nil {
			t.Errorf("at first: %+v", got)
		}
		set(share.Switch{On: true, Text: "Back soon.", ExceptGroups: []string{"staff"}}, false)
		sshtest.Eventually(t, "no notification", func() bool { return seen.switched.Load() > 0 })
		set(share.Switch{}, true)
		if got := read(); got == nil || !got.On || got.Text != "Back soon." || len(got.ExceptGroups) != 1 {
			t.Errorf("on: %+v", got)
		}
		set(share.Switch{}, false)
		if got := read(); got == nil || got.On {
			t.Errorf("off: %+v", got)
		}
		set(share.Switch{On: true, Until: time.Now().Add(-time.Second)}, false)
		sshtest.Eventually(t, "it does not expire", func() bool { return read() == nil })
		for _, text := range []string{"\x1b[2J", strings.Repeat("a", 20_000)} {
			if share.SetSwitch(t.Context(), a, share.Switch{On: true, Text: text}, false) == nil {
				t.Errorf("%.10q is set", text)
			}
		}
	})
}

// nonsense is what no server sets as a switch.
var nonsense = []string{
	"{", `{"version":2,"on":true}`, `{"version":1,"on":true,"file":"/etc/passwd"}`, `{"version":1,"on":true,"text":"\u001b[2J"}`,
	`{"version":1,"text":"` + strings.Repeat("a", 20_000) + `"}`,
}

// All servers learn the switch, also without a notification and after the engine has lost it. Nonsense is counted and ignored.
func TestServersSwitch(t *testing.T) {
	r := sshtest.StartRedis(t)
	a, b := startServer(t, r, nil), startServer(t, r, nil)
	a.start(t)
	b.start(t)
	ready(t, a, b)
	conn, _ := open(t, atRedis(r))
	if err := share.SetSwitch(t.Context(), conn, share.Switch{On: true, Text: "Back soon."}, false); err != nil {
		t.Fatal(err)
	}
	is := func(s *server, text string) func() bool {
		return func() bool {
			got := s.replica.Switch()
			return got != nil && got.On == (text != "") && got.Text == text
		}
	}
	for _, s := range []*server{a, b} {
		sshtest.Eventually(t, "a server does not learn", is(s, "Back soon."))
	}
	last := a.replica.Switch()

	r.Stop()
	a.log.Line(t, isLost)
	if a.replica.Switch() != last {
		t.Error("forgotten without the engine")
	}
	r.Start()
	a.log.Line(t, isAgain)
	sshtest.Eventually(t, "the engine does not learn it again", func() bool { return strings.Contains(r.CLI("get", "foyer:test:maintenance"), "Back soon.") })

	for _, text := range nonsense {
		before := a.replica.Stats().Invalid
		r.CLI("set", "foyer:test:maintenance", text)
		r.CLI("publish", "foyer:test:maintenance", "changed")
		sshtest.Eventually(t, "nonsense is not counted", func() bool { return a.replica.Stats().Invalid > before })
	}
	if a.replica.Switch() != last {
		t.Errorf("nonsense is used: %+v", a.replica.Switch())
	}
	r.CLI("set", "foyer:test:maintenance", `{"version":1,"on":false}`) // without a notification
	for _, s := range []*server{a, b} {
		sshtest.Eventually(t, "a server does not look again", is(s, ""))
	}
}
