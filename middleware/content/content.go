// Package content decides what is said to a visitor: an answer instead of the message, notices in addition, and a banner
// before authentication. It knows nothing of SSH.
//
// Rules say a text to the visitors that fit their conditions. Of the answers the first that fits is said, of the notices
// all that fit. A text is plain or Markdown ([markdown]) and can have placeholders such as {user} ([placeholder]); what a
// visitor chose is shown as literal text, cleaned as in the log, and never becomes markup or an escape sequence.
//
// Files with texts are read again when they change, at the cost of one stat for each text that is said. A new version that
// is invalid is reported once, and the last good one stays in use.
package content

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// Settings are the rules and what they refer to. A table keeps the rules; they must not change.
type Settings struct {
	Groups  map[string][]string       // the users of each group
	GroupAt func(group string) string // where a group is, such as "foyer.toml:3"; may be nil
	Answers []Rule
	Notices []Rule
	Banner  *Rule  // may only have the conditions networks, not-networks, from and until
	Texts   *Texts // opens the files
}

// Table is a set of valid rules. It is safe for concurrent use.
type Table struct {
	groups  map[string][]string // of each user, sorted
	answers rules
	notices rules
	banner  *compiled // may be nil
}

// rules are rules of one kind, with their index.
type rules struct {
	all   []*compiled
	index index
}

// compiled is a rule that can be matched.
type compiled struct {
	*Rule
	globs []glob
	all   []condition
	text  *Text
}

// fails returns the key of the first condition that does not hold, or an empty text if the rule fits.
func (c *compiled) fails(v *visitor) (key string) {
	for _, condition := range c.all {
		if !condition.fits(v) {
			return condition.key
		}
	}
	return ""
}

// New returns the table of valid settings. Its error joins a [*Problem] for each error.
func New(s Settings) (*Table, error) {
	t, problems := compile(s)
	var errs []error
	for _, p := range problems {
		if !p.Warning {
			errs = append(errs, p)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

// groupsOf returns the groups of each user, sorted.
func groupsOf(users map[string][]string) map[string][]string {
	groups := make(map[string][]string)
	for _, group := range slices.Sorted(maps.Keys(users)) {
		for _, user := range users[group] {
			if !slices.Contains(groups[user], group) {
				groups[user] = append(groups[user], group)
			}
		}
	}
	return groups
}

// Match is a rule that fits a visit. The zero Match is none.
type Match struct {
	Rule  *Rule
	Group string // the first of the rule's groups that the visitor is in, or else the visitor's first one by name
	text  *Text
}

// Text returns what the rule says, as [Text.For] does.
func (m Match) Text(v *Visit, view View) string {
	return m.text.For(v, m.Group, m.Rule.Until, view)
}

// IsPage reports whether the text is Markdown.
func (m Match) IsPage() bool { return m.text != nil && m.text.current().page != nil }

// Answer returns the first answer that fits.
func (t *Table) Answer(v *Visit) (m Match, found bool) {
	t.each(&t.answers, t.visitor(v), func(c *compiled) bool {
		m, found = t.match(c, v), true
		return false
	})
	return m, found
}

// Notices returns all notices that fit, in their order.
func (t *Table) Notices(v *Visit) (matches []Match) {
	t.each(&t.notices, t.visitor(v), func(c *compiled) bool {
		matches = append(matches, t.match(c, v))
		return true
	})
	return matches
}

// Banner returns the banner if it fits. Of v only Address, Client, Now and Server are used.
func (t *Table) Banner(v *Visit) (m Match, found bool) {
	if t.banner == nil || t.banner.fails(t.visitor(v)) != "" {
		return Match{}, false
	}
	return Match{Rule: t.banner.Rule, text: t.banner.text}, true
}

// Group returns the first group of a user by name, or an empty text. It is the {group} of texts without a rule.
func (t *Table) Group(user string) string {
	if groups := t.groups[user]; len(groups) > 0 {
		return groups[0]
	}
	return ""
}

func (t *Table) visitor(v *Visit) *visitor {
	return &visitor{v, t.groups[v.User], v.Address.Unmap().WithZone("")}
}

// each calls use for the rules that fit, until it returns false.
func (t *Table) each(rules *rules, v *visitor, use func(*compiled) bool) {
	var room [16]uint64 // enough for 1,024 rules
	marked := bitset(room[:])
	if need := len(rules.index.rest); need > len(room) {
		marked = make(bitset, need)
	}
	rules.index.candidates(v, marked)
	for i := marked.next(0); i >= 0; i = marked.next(i + 1) {
		if c := rules.all[i]; c.fails(v) == "" && !use(c) {
			return
		}
	}
}

func (t *Table) match(c *compiled, v *Visit) Match {
	for _, group := range c.Groups {
		if slices.Contains(t.groups[v.User], group) {
			return Match{c.Rule, group, c.text}
		}
	}
	return Match{c.Rule, t.Group(v.User), c.text}
}

// Verdict is what a rule has to do with a visit.
type Verdict struct {
	Rule   *Rule
	Notice bool   // or an answer
	Said   bool   // the rule is said; an answer that fits is not said if an earlier one is
	Key    string // of the first condition that does not hold; empty if the rule fits
	At     string // where that is, or the rule
}

// Explain returns the verdict on each answer and each notice.
func (t *Table) Explain(v *Visit) (verdicts []Verdict) {
	answer, _ := t.Answer(v)
	for _, c := range slices.Concat(t.answers.all, t.notices.all) {
		notice := len(verdicts) >= len(t.answers.all)
		key := c.fails(t.visitor(v))
		said := key == "" && (notice || c.Rule == answer.Rule)
		verdicts = append(verdicts, Verdict{Rule: c.Rule, Notice: notice, Said: said, Key: key, At: c.at(key)})
	}
	return verdicts
}

// past reports whether the rule can never fit again.
func (r *Rule) past(now time.Time) bool { return !r.Until.IsZero() && !now.Before(r.Until) }
