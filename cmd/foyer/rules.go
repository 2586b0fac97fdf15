package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"foyer/cmd/foyer/settings"
	"foyer/middleware"
	"foyer/middleware/content"
	"foyer/middleware/maintenance"
)

// rules is what the tables of the file say, which are not settings.
type rules struct {
	content.Settings
	sentences   map[string]string // in place of fixed ones
	maintenance *content.Rule     // by date; may be nil
}

// conditions are the keys of an answer and of a notice, before its text.
func conditions() []settings.Key {
	return []settings.Key{
		{Name: "users", Kind: settings.Strings, Example: `users = ["alice", "bob"]`, Help: "any of these; the same for each list"},
		{Name: "not-users", Kind: settings.Strings, Example: `not-users = ["guest"]`, Help: "none of these"},
		{Name: "groups", Kind: settings.Strings, Example: `groups = ["staff"]`, Help: "users of a group in [groups]"},
		{Name: "not-groups", Kind: settings.Strings, Example: `not-groups = ["suspended"]`, Help: "users of none of them"},
		{Name: "keys", Kind: settings.Strings, Example: `keys = ["SHA256:uNiVztksCsDhcc0u9e8BrrJXVGuOqzXH5lWTGjSaS1k"]`,
			Help: "logged in with a key, as ssh-keygen -lf shows it"},
		{Name: "not-keys", Kind: settings.Strings, Example: `not-keys = ["SHA256:uNiVztksCsDhcc0u9e8BrrJXVGuOqzXH5lWTGjSaS1k"]`, Help: "or without it"},
		{Name: "principals", Kind: settings.Strings, Example: `principals = ["admin"]`, Help: "logged in with a certificate for a principal"},
		{Name: "not-principals", Kind: settings.Strings, Example: `not-principals = ["robot"]`, Help: "or without one"},
		{Name: "methods", Kind: settings.Strings, Example: `methods = ["publickey", "publickey+password"]`, Help: "how the visitor logged in, as in the setting auth; or none"},
		networks(), notNetworks(),
		{Name: "request", Kind: settings.Strings, Example: `request = ["shell", "exec", "subsystem"]`, Help: "what the client asks for"},
		{Name: "command", Kind: settings.Strings, Example: `command = "git-*-pack '*old/*'"`, Help: "the whole command or the subsystem; * is any text, ? a character"},
		{Name: "terminal", Kind: settings.Boolean, Example: `terminal = true`, Help: "the client asks for a terminal, or not"},
	}
}

func networks() settings.Key {
	return settings.Key{Name: "networks", Kind: settings.Strings, Example: `networks = ["192.0.2.0/24"]`, Help: "where the visitor comes from"}
}

func notNetworks() settings.Key {
	return settings.Key{Name: "not-networks", Kind: settings.Strings, Example: `not-networks = ["2001:db8::/32"]`, Help: "where not"}
}

// saying is the keys for the time and the text.
func saying(text string) []settings.Key {
	return []settings.Key{
		{Name: "from", Kind: settings.Time, Example: `from = 2026-12-03T00:00:00Z`, Help: "when it begins"},
		{Name: "until", Kind: settings.Time, Example: `until = 2026-12-06T04:00:00Z`, Help: "when it ends"},
		{Name: "text", Kind: settings.String, Example: fmt.Sprintf("text = %q", text), Help: "with placeholders such as {user}; {{ is a brace"},
		{Name: "file", Kind: settings.String, Example: `file = "texts/page.md"`, Help: "instead of a text; .md is Markdown"},
	}
}

// ruleTables is the list of tables whose keys are not settings.
func ruleTables() []settings.Table {
	exit := settings.Key{Name: "exit", Kind: settings.Integer, Example: `exit = 1`, Help: "exit status; 0 for a shell and 1 for other requests by default"}
	return []settings.Table{
		{Name: "groups", Help: "Groups of users", Keys: []settings.Key{{Kind: settings.Strings, Example: `staff = ["alice", "bob"]`, Help: "name and users"}}},
		{Name: "answer", Several: true, Help: "An answer is said instead of the message: the first whose conditions all hold",
			Keys: append(append(conditions(), saying("Hi {user}!")...), exit)},
		{Name: "notice", Several: true, Help: "A notice is said to people at a terminal, before the answer: all whose conditions all hold",
			Keys: append(conditions(), saying("Maintenance until {until}.")...)},
		{Name: "banner", Help: "The banner is said before authentication",
			Keys: append([]settings.Key{networks(), notNetworks()}, saying("Authorized use only.")...)},
		{Name: "sentences", Help: "Sentences in place of foyer's own, with placeholders", Keys: sentenceKeys()},
		maintenanceTable(),
	}
}

func sentenceKeys() (keys []settings.Key) {
	for _, s := range middleware.SentenceNames() {
		keys = append(keys, settings.Key{Name: s.Name, Kind: settings.String, Example: fmt.Sprintf("%s = %q", s.Name, s.Standard), Help: s.About})
	}
	return keys
}

// readRules reads the tables of the file, and returns what is wrong with single values.
func (c *Config) readRules() (problems []error) {
	r := rules{Settings: content.Settings{Groups: map[string][]string{}}, sentences: map[string]string{}}
	problem := func(err error) { problems = append(problems, err) }
	for _, e := range c.settings.Entries("groups") {
		for _, name := range e.Names() {
			r.Groups[name] = e.Strings(name)
		}
		r.GroupAt = e.At
	}
	for _, e := range c.settings.Entries("answer") {
		r.Answers = append(r.Answers, readRule(e, problem))
	}
	for _, e := range c.settings.Entries("notice") {
		r.Notices = append(r.Notices, readRule(e, problem))
	}
	for _, e := range c.settings.Entries("banner") {
		banner := readRule(e, problem)
		r.Banner = &banner
	}
	for _, e := range c.settings.Entries("sentences") {
		for _, name := range e.Names() {
			r.sentences[name], _ = settings.Value[string](e, name)
			if _, err := content.Plain(r.sentences[name]); err != nil {
				problem(e.Problem(name, err))
			}
		}
	}
	for _, e := range c.settings.Entries("maintenance") {
		r.maintenance = readMaintenance(e, problem)
	}
	c.rules = r
	return problems
}

// readRule returns the rule of an entry. What it refers to is checked by package content.
func readRule(e *settings.Entry, problem func(error)) content.Rule {
	r := content.Rule{
		Users: e.Strings("users"), NotUsers: e.Strings("not-users"), Groups: e.Strings("groups"), NotGroups: e.Strings("not-groups"),
		Keys: e.Strings("keys"), NotKeys: e.Strings("not-keys"), Principals: e.Strings("principals"), NotPrincipals: e.Strings("not-principals"),
		Methods: e.Strings("methods"), Request: e.Strings("request"), Command: e.Strings("command"), At: e.At,
	}
	r.Networks, r.NotNetworks = readNetworks(e, "networks", problem), readNetworks(e, "not-networks", problem)
	r.From, _ = settings.Value[time.Time](e, "from")
	r.Until, _ = settings.Value[time.Time](e, "until")
	r.Text, _ = settings.Value[string](e, "text")
	r.File, _ = settings.Value[string](e, "file")
	if terminal, ok := settings.Value[bool](e, "terminal"); ok {
		r.Terminal = &terminal
	}
	if exit, ok := settings.Value[int64](e, "exit"); ok {
		status := int(exit)
		r.Exit = &status
	}
	for _, method := range r.Methods {
		if _, err := parseCombination(method); err != nil && method != "none" {
			problem(e.Problem("methods", err))
		}
	}
	return r
}

func readNetworks(e *settings.Entry, name string, problem func(error)) (networks []netip.Prefix) {
	for _, text := range e.Strings(name) {
		network, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			err = fmt.Errorf("%q is not a network like 192.0.2.0/24", text)
		case network != network.Masked():
			err = fmt.Errorf("network %s has host bits: write %s", network, network.Masked())
		}
		if err != nil {
			problem(e.Problem(name, err))
		}
		networks = append(networks, network)
	}
	return networks
}

// checkRules returns all problems of the rules, with their places.
func (c *Config) checkRules(now time.Time) (problems, warnings []error) {
	r := c.rules.Settings
	r.Texts = content.NewTexts(".", nil)
	all := content.Check(r, now)
	if dated := c.rules.maintenance; dated != nil {
		all = append(all, content.Check(maintenance.Settings(r.Groups, r.Texts, *dated), now)...)
	}
	known := map[string]bool{} // the text of a maintenance is a page and a banner
	for _, p := range all {
		err := c.settings.Problem(p.At, p.Err)
		switch {
		case known[err.Error()]:
		case p.Warning:
			warnings = append(warnings, err)
		default:
			problems = append(problems, err)
		}
		known[err.Error()] = true
	}
	return problems, warnings
}

// watchedTexts returns the files with texts.
func watchedTexts(logger *slog.Logger) *content.Texts {
	return content.NewTexts(".", func(err error) {
		logger.Error("file is invalid; keeping the last good version", problem(err)...)
	})
}

// openRules returns what is said by rules. Files with texts are read again when they change.
func openRules(cfg *Config, logger *slog.Logger) (*middleware.Content, error) {
	problems, warnings := cfg.checkRules(time.Now())
	for _, err := range warnings {
		logger.Warn("rule", problem(err)...)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	r := cfg.rules.Settings
	r.Texts = watchedTexts(logger)
	table, err := content.New(r)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	return &middleware.Content{Table: table, Server: cmp.Or(cfg.ServerName, host)}, nil
}
