package content

import (
	"net/netip"
	"slices"
	"time"
)

// Rule says something to visitors. All of its conditions must hold; a condition with a list holds if one of the list does,
// a condition that begins with Not if none does. An empty list is no condition.
type Rule struct {
	Users, NotUsers           []string
	Groups, NotGroups         []string
	Keys, NotKeys             []string // SHA256 fingerprints
	Principals, NotPrincipals []string // of the certificate
	Methods                   []string
	Networks, NotNetworks     []netip.Prefix
	Request                   []string  // "shell", "exec" or "subsystem"
	Command                   []string  // globs over the whole command line or the name of the subsystem; a shell has none
	Terminal                  *bool     // whether a terminal was requested
	From, Until               time.Time // From is included, Until is not; a zero time is no condition

	Text string // either this
	File string // or this
	Exit *int   // 0 to 254; nil if the rule does not say

	// At returns where a key of the rule is, such as "foyer.toml:12". An empty key is the rule itself. The keys are users,
	// not-users, groups, not-groups, keys, not-keys, principals, not-principals, methods, networks, not-networks, request,
	// command, terminal, from, until, text, file, exit. It may be nil.
	At func(key string) string
}

func (r *Rule) at(key string) string {
	if r.At == nil {
		return ""
	}
	return r.At(key)
}

// visitor is a visit with what the conditions look at.
type visitor struct {
	*Visit
	groups  []string   // of the user
	address netip.Addr // as networks name it
}

// names is a set. In a few names, a search is faster than a hash.
type names struct {
	few  []string
	many map[string]bool
}

func namesOf(all []string) names {
	const few = 8
	if len(all) <= few {
		return names{few: all}
	}
	many := make(map[string]bool, len(all))
	for _, name := range all {
		many[name] = true
	}
	return names{many: many}
}

func (n names) has(name string) bool {
	if n.many != nil {
		return n.many[name]
	}
	return slices.Contains(n.few, name)
}

// list is a condition that names values.
type list struct {
	key string
	of  func(*Rule) []string
	has func(*visitor, names) bool // whether the visitor has one of the names
	not bool
}

// lists returns all conditions that name values.
func lists() []list {
	user := func(v *visitor, n names) bool { return n.has(v.User) }
	group := func(v *visitor, n names) bool { return slices.ContainsFunc(v.groups, n.has) }
	key := func(v *visitor, n names) bool { return n.has(v.Key) }
	principal := func(v *visitor, n names) bool { return slices.ContainsFunc(v.Principals, n.has) }
	method := func(v *visitor, n names) bool { return n.has(v.Method) }
	request := func(v *visitor, n names) bool { return n.has(v.Request) }
	return []list{
		{"users", func(r *Rule) []string { return r.Users }, user, false},
		{"not-users", func(r *Rule) []string { return r.NotUsers }, user, true},
		{"groups", func(r *Rule) []string { return r.Groups }, group, false},
		{"not-groups", func(r *Rule) []string { return r.NotGroups }, group, true},
		{"keys", func(r *Rule) []string { return r.Keys }, key, false},
		{"not-keys", func(r *Rule) []string { return r.NotKeys }, key, true},
		{"principals", func(r *Rule) []string { return r.Principals }, principal, false},
		{"not-principals", func(r *Rule) []string { return r.NotPrincipals }, principal, true},
		{"methods", func(r *Rule) []string { return r.Methods }, method, false},
		{"request", func(r *Rule) []string { return r.Request }, request, false},
	}
}

// condition is one condition of a rule.
type condition struct {
	key  string
	fits func(*visitor) bool

	// implied reports whether the condition certainly holds for all visitors that fit another rule.
	implied func(by *compiled) bool
}

// conditions returns the conditions that the rule has, the fast ones first.
func (c *compiled) conditions() (all []condition) {
	all = c.times()
	if c.Terminal != nil {
		all = append(all, condition{"terminal", func(v *visitor) bool { return v.Terminal == *c.Terminal },
			func(by *compiled) bool { return by.Terminal != nil && *by.Terminal == *c.Terminal }})
	}
	if in := c.Networks; len(in) > 0 {
		all = append(all, condition{"networks", func(v *visitor) bool { return contains(in, v.address) },
			func(by *compiled) bool { return len(by.Networks) > 0 && within(by.Networks, in) }})
	}
	if out := c.NotNetworks; len(out) > 0 {
		all = append(all, condition{"not-networks", func(v *visitor) bool { return !contains(out, v.address) },
			func(by *compiled) bool { return within(out, by.NotNetworks) }})
	}
	for _, l := range lists() {
		if len(l.of(c.Rule)) > 0 {
			all = append(all, l.condition(c.Rule))
		}
	}
	if len(c.globs) > 0 {
		all = append(all, command(c.globs))
	}
	return all
}

func (l list) condition(r *Rule) condition {
	all := l.of(r)
	in := namesOf(all)
	fits := func(v *visitor) bool { return l.has(v, in) != l.not }
	return condition{l.key, fits, func(by *compiled) bool {
		others := l.of(by.Rule)
		if l.not {
			return subset(all, namesOf(others))
		}
		return len(others) > 0 && subset(others, in)
	}}
}

func subset(some []string, all names) bool {
	return !slices.ContainsFunc(some, func(name string) bool { return !all.has(name) })
}

func contains(networks []netip.Prefix, address netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(address) {
			return true
		}
	}
	return false
}

// within reports whether each of the networks is a part of one of the others.
func within(networks, others []netip.Prefix) bool {
	for _, n := range networks {
		if !slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) }) {
			return false
		}
	}
	return true
}

func command(globs []glob) condition {
	fits := func(v *visitor) bool {
		return v.Request != "shell" && slices.ContainsFunc(globs, func(g glob) bool { return g.match(v.Command) })
	}
	return condition{"command", fits, func(by *compiled) bool {
		covered := func(other glob) bool {
			return slices.ContainsFunc(globs, func(g glob) bool { return g.covers(other) })
		}
		return len(by.globs) > 0 && !slices.ContainsFunc(by.globs, func(other glob) bool { return !covered(other) })
	}}
}

func (c *compiled) times() (all []condition) {
	if from := c.From; !from.IsZero() {
		all = append(all, condition{"from", func(v *visitor) bool { return !v.Now.Before(from) },
			func(by *compiled) bool { return !by.From.Before(from) }})
	}
	if until := c.Until; !until.IsZero() {
		all = append(all, condition{"until", func(v *visitor) bool { return v.Now.Before(until) },
			func(by *compiled) bool { return !by.Until.IsZero() && !by.Until.After(until) }})
	}
	return all
}
