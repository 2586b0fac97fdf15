package content

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	noon   = time.Date(2026, 12, 3, 12, 0, 0, 0, time.UTC)
	keyA   = "SHA256:" + strings.Repeat("a", 43)
	keyB   = "SHA256:" + strings.Repeat("b", 43)
	yes    = true
	no     = false
	groups = map[string][]string{"staff": {"ada", "bob"}, "admins": {"ada"}, "none": {}}
)

// ada is a visitor about whom everything is known.
func ada() *Visit {
	return &Visit{
		User: "ada", Address: netip.MustParseAddr("192.0.2.7"), Client: "SSH-2.0-OpenSSH_10.0", Method: "publickey", Key: keyA,
		Certificate: "ada's laptop", Principals: []string{"ada", "ops"}, Request: "exec", Command: "git-upload-pack 'old/a.git'",
		Terminal: true, Now: noon, Server: "example.org",
	}
}

// guest is a visitor with a password.
func guest() *Visit {
	return &Visit{User: "guest", Address: netip.MustParseAddr("::ffff:198.51.100.1"), Method: "password", Request: "shell", Now: noon}
}

func networks(all ...string) (prefixes []netip.Prefix) {
	for _, n := range all {
		prefixes = append(prefixes, netip.MustParsePrefix(n))
	}
	return prefixes
}

func settings(rules ...Rule) Settings {
	for i := range rules {
		if rules[i].Text == "" && rules[i].File == "" {
			rules[i].Text = fmt.Sprint(i)
		}
		rules[i].At = func(key string) string { return strings.TrimRight(fmt.Sprintf("foyer.toml:%d %s", i, key), " ") }
	}
	return Settings{Groups: groups, Answers: rules, Texts: NewTexts(".", nil)}
}

func table(t testing.TB, s Settings) *Table {
	t.Helper()
	table, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestConditions(t *testing.T) {
	for _, tt := range []struct {
		name       string
		rule       Rule
		ada, guest bool
	}{
		{"none", Rule{}, true, true},
		{"users", Rule{Users: []string{"bob", "ada"}}, true, false},
		{"not many users", Rule{NotUsers: append(strings.Split("abcdefghij", ""), "ada")}, false, true},
		{"not-users", Rule{NotUsers: []string{"bob", "ada"}}, false, true},
		{"groups", Rule{Groups: []string{"none", "staff"}}, true, false},
		{"not-groups", Rule{NotGroups: []string{"staff"}}, false, true},
		{"both", Rule{Groups: []string{"staff"}, NotGroups: []string{"admins"}}, false, false},
		{"keys", Rule{Keys: []string{keyA}}, true, false},
		{"another key", Rule{Keys: []string{keyB}}, false, false},
		{"not-keys", Rule{NotKeys: []string{keyA}}, false, true},
		{"principals", Rule{Principals: []string{"ops"}}, true, false},
		{"not-principals", Rule{NotPrincipals: []string{"ops"}}, false, true},
		{"methods", Rule{Methods: []string{"password", "none"}}, false, true},
		{"networks", Rule{Networks: networks("2001:db8::/32", "198.51.100.0/24")}, false, true},
		{"not-networks", Rule{NotNetworks: networks("198.51.100.0/24")}, true, false},
		{"request", Rule{Request: []string{"exec", "subsystem"}}, true, false},
		{"command", Rule{Command: []string{"ls", "git-*-pack '*old/*'"}}, true, false},
		{"any command", Rule{Command: []string{"*"}}, true, false},
		{"terminal", Rule{Terminal: &yes}, true, false},
		{"no terminal", Rule{Terminal: &no}, false, true},
		{"from now", Rule{From: noon}, true, true},
		{"from later", Rule{From: noon.Add(1)}, false, false},
		{"until now", Rule{Until: noon}, false, false},
		{"until later", Rule{Until: noon.Add(1)}, true, true},
		{"all hold", Rule{Users: []string{"ada"}, Methods: []string{"publickey"}}, true, false},
		{"one does not hold", Rule{Users: []string{"ada"}, Methods: []string{"password"}}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := table(t, settings(tt.rule))
			if _, fits := table.Answer(ada()); fits != tt.ada {
				t.Errorf("fits ada: %v", fits)
			}
			if _, fits := table.Answer(guest()); fits != tt.guest {
				t.Errorf("fits guest: %v", fits)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	s := settings(Rule{Users: []string{"bob"}}, Rule{Groups: []string{"staff"}}, Rule{}, Rule{Users: []string{"ada"}})
	s.Notices, s.Answers = s.Answers, nil
	exit := 3
	s.Answers = settings(Rule{Users: []string{"bob"}}, Rule{Command: []string{"*old*"}, Exit: &exit}, Rule{Users: []string{"ada"}}).Answers
	table := table(t, s)
	answer, found := table.Answer(ada())
	if got := answer.Text(ada(), View{}); !found || got != "1" || *answer.Rule.Exit != 3 {
		t.Errorf("answer %q, %v", got, found)
	}
	var notices []string
	for _, notice := range table.Notices(ada()) {
		notices = append(notices, notice.Text(ada(), View{}))
	}
	if got := strings.Join(notices, " "); got != "1 2 3" {
		t.Errorf("notices %s", got)
	}
	if answer, found := table.Answer(guest()); found {
		t.Errorf("guest is answered by %v", answer.Rule)
	}
}

func TestGroup(t *testing.T) {
	for _, tt := range []struct {
		rule Rule
		want string
	}{
		{Rule{}, "admins"},
		{Rule{Groups: []string{"none", "staff", "admins"}}, "staff"},
	} {
		tt.rule.Text = "{group}"
		m, _ := table(t, settings(tt.rule)).Answer(ada())
		if got := m.Text(ada(), View{}); got != tt.want {
			t.Errorf("%v: group %q, want %q", tt.rule.Groups, got, tt.want)
		}
	}
}

func TestBanner(t *testing.T) {
	s := settings()
	s.Banner = &Rule{Text: "{server} {left} {address}", Until: noon.Add(3 * time.Hour), Networks: networks("192.0.2.0/24")}
	table := table(t, s)
	m, found := table.Banner(ada())
	if got := m.Text(ada(), View{}); !found || got != "example.org in 3 hours 192.0.2.7" {
		t.Errorf("banner %q, %v", got, found)
	}
	if _, found := table.Banner(guest()); found {
		t.Error("the banner fits guest")
	}
}

// The index finds what a look at all rules finds.
func TestIndex(t *testing.T) {
	pick := func(all ...string) []string {
		if rand.IntN(2) == 0 {
			return nil
		}
		return all[:1+rand.IntN(len(all))]
	}
	part := func(all []netip.Prefix) []netip.Prefix { return all[rand.IntN(len(all)+1):] }
	for range 30 {
		var rules []Rule
		for range 1 + rand.IntN(1500) {
			names := []string{fmt.Sprint("u", rand.IntN(50)), "ada", "bob"}
			rules = append(rules, Rule{Users: pick(names[rand.IntN(3):]...), Groups: pick("none", "staff"), Keys: pick(keyB, keyA),
				Principals: pick("x", "ops"), Command: pick(fmt.Sprintf("*%d*", rand.IntN(1e6)), "???", "*old/*", "git-?pload*"), NotUsers: pick("ada"), Networks: part(networks("192.0.2.9/24", "10.0.0.0/8", "::/0"))})
		}
		table := table(t, settings(rules...))
		short := ada()
		short.Command = "abc"
		for _, v := range []*Visit{ada(), guest(), short} {
			got, found := table.Answer(v)
			want := slices.IndexFunc(table.answers.all, func(c *compiled) bool { return c.fails(table.visitor(v)) == "" })
			if found != (want >= 0) || found && got.Rule != table.answers.all[want].Rule {
				t.Fatalf("%s: got %v, want rule %d", v.User, got.Rule, want)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	s := settings(Rule{Users: []string{"bob"}}, Rule{Groups: []string{"staff"}, Command: []string{"ls"}}, Rule{Terminal: &yes}, Rule{})
	s.Notices = []Rule{{Text: "a", Methods: []string{"password"}}, {Text: "b"}}
	v := ada()
	v.Command = "rm"
	var got []string
	for _, verdict := range table(t, s).Explain(v) {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%v %v %s %s", verdict.Notice, verdict.Said, verdict.Key, verdict.At)))
	}
	want := []string{
		"false false users foyer.toml:0 users", "false false command foyer.toml:1 command", "false true  foyer.toml:2", "false false  foyer.toml:3",
		"true false methods", "true true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLeft(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Hour, "now"},
		{0, "now"},
		{29 * time.Second, "in less than a minute"},
		{time.Minute, "in 1 minute"},
		{90 * time.Second, "in 2 minutes"},
		{59*time.Minute + 20*time.Second, "in 59 minutes"},
		{59*time.Minute + 40*time.Second, "in 1 hour"},
		{3*time.Hour - time.Second, "in 3 hours"},
		{3*time.Hour + time.Second, "in 3 hours"},
		{47 * time.Hour, "in 47 hours"},
		{48 * time.Hour, "in 2 days"},
		{10 * 24 * time.Hour, "in 10 days"},
	} {
		if got := left(tt.d); got != tt.want {
			t.Errorf("left(%v) = %q, want %q", tt.d, got, tt.want)
		}
	}
}

func TestValues(t *testing.T) {
	all := "{user} {group} {address} {client} {method} {key} {certificate} {command} {server} {time} {date} {until} {left}"
	for _, tt := range []struct {
		visit *Visit
		until time.Time
		want  string
	}{
		{&Visit{Now: noon}, noon, " staff        12:00 UTC 2026-12-03 2026-12-03 12:00 UTC now"},
		{ada(), noon.Add(90 * time.Minute), "ada staff 192.0.2.7 SSH-2.0-OpenSSH_10.0 publickey " + keyA +
			" ada's laptop git-upload-pack 'old/a.git' example.org 12:00 UTC 2026-12-03 2026-12-03 13:30 UTC in 2 hours"},
		{&Visit{User: "\x1b[2J\u202e", Address: guest().Address, Command: strings.Repeat("x", 300)}, time.Time{},
			`\x1b[2J\u202e staff 198.51.100.1     ` + strings.Repeat("x", 256) + "…  00:00 UTC 0001-01-01 further notice later"},
	} {
		text, err := Plain(all)
		if err != nil {
			t.Fatal(err)
		}
		if got := text.For(tt.visit, "staff", tt.until, View{}); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}

// BenchmarkAnswer measures an answer, with its text, of the last of 1,000 rules.
func BenchmarkAnswer(b *testing.B) {
	for name, rule := range map[string]func(i int) Rule{
		"users":    func(i int) Rule { return Rule{Users: []string{fmt.Sprint("user", i)}} },
		"groups":   func(i int) Rule { return Rule{Groups: []string{fmt.Sprint("group", i)}} },
		"networks": func(i int) Rule { return Rule{Networks: networks(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))} },
		"commands": func(i int) Rule { return Rule{Command: []string{fmt.Sprintf("git-*-pack '*repository%d/*'", i)}} },
		"dates":    func(i int) Rule { return Rule{From: noon.Add(time.Hour), Methods: []string{"publickey"}} },
	} {
		b.Run(name, func(b *testing.B) {
			rules := make([]Rule, 1000)
			for i := range rules {
				rules[i] = rule(i)
			}
			rules[999] = Rule{Groups: []string{"staff"}, Text: "Hi {user}! Your key is {key}."}
			s, v, want := settings(rules...), ada(), "Hi ada! Your key is "+keyA+"."
			s.Groups = maps.Clone(groups)
			for i := range rules {
				s.Groups[fmt.Sprint("group", i)] = []string{"bob"}
			}
			table := table(b, s)
			b.ReportAllocs()
			for b.Loop() {
				m, _ := table.Answer(v)
				if m.Text(v, View{}) != want {
					b.Fatal("another answer")
				}
			}
		})
	}
}
