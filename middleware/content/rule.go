package content

import (
	"net/netip"
	"slices"
	"strings"
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
	From, Until               time.Time // until is not included; zero is no condition

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

type set map[string]bool

// list is a condition that names values.
type list struct {
	key string
	of  func(*Rule) []string
	has func(v *Visit, names set) bool // whether the visitor has one of the names
	not bool
}

// lists returns all conditions that name values. Member reports whether a user is in one of the groups.
func lists(member func(user string, groups set) bool) []list {
	user := func(v *Visit, names set) bool { return names[v.User] }
	group := func(v *Visit, names set) bool { return member(v.User, names) }
	key := func(v *Visit, names set) bool { return v.Key != "" && names[v.Key] }
	principal := func(v *Visit, names set) bool {
		return slices.ContainsFunc(v.Principals, func(p string) bool { return names[p] })
	}
	return []list{
		{"users", func(r *Rule) []string { return r.Users }, user, false},
		{"not-users", func(r *Rule) []string { return r.NotUsers }, user, true},
		{"groups", func(r *Rule) []string { return r.Groups }, group, false},
		{"not-groups", func(r *Rule) []string { return r.NotGroups }, group, true},
		{"keys", func(r *Rule) []string { return r.Keys }, key, false},
		{"not-keys", func(r *Rule) []string { return r.NotKeys }, key, true},
		{"principals", func(r *Rule) []string { return r.Principals }, principal, false},
		{"not-principals", func(r *Rule) []string { return r.NotPrincipals }, principal, true},
		{"methods", func(r *Rule) []string { return r.Methods }, func(v *Visit, names set) bool { return names[v.Method] }, false},
		{"request", func(r *Rule) []string { return r.Request }, func(v *Visit, names set) bool { return names[v.Request] }, false},
	}
}

// condition is one condition of a rule.
type condition struct {
	key  string
	fits func(*Visit) bool

	// implied reports whether the condition certainly holds for all visitors that fit another rule.
	implied func(by *compiled) bool
}

// conditions returns the conditions that r has. Its globs are valid.
func (r *Rule) conditions(lists []list, globs []glob) (all []condition) {
	for _, l := range lists {
		if names := l.of(r); len(names) > 0 {
			all = append(all, l.condition(names))
		}
	}
	if len(r.Networks) > 0 {
		all = append(all, condition{"networks", func(v *Visit) bool { return contains(r.Networks, v.Address) },
			func(by *compiled) bool { return len(by.Networks) > 0 && within(by.Networks, r.Networks) }})
	}
	if len(r.NotNetworks) > 0 {
		all = append(all, condition{"not-networks", func(v *Visit) bool { return !contains(r.NotNetworks, v.Address) },
			func(by *compiled) bool { return within(r.NotNetworks, by.NotNetworks) }})
	}
	if len(globs) > 0 {
		all = append(all, command(globs))
	}
	if r.Terminal != nil {
		all = append(all, condition{"terminal", func(v *Visit) bool { return v.Terminal == *r.Terminal },
			func(by *compiled) bool { return by.Terminal != nil && *by.Terminal == *r.Terminal }})
	}
	return append(all, r.times()...)
}

func (l list) condition(names []string) condition {
	in := make(set, len(names))
	for _, name := range names {
		in[name] = true
	}
	return condition{l.key, func(v *Visit) bool { return l.has(v, in) != l.not }, func(by *compiled) bool {
		others := l.of(by.Rule)
		if l.not {
			return subset(names, others)
		}
		return len(others) > 0 && !slices.ContainsFunc(others, func(name string) bool { return !in[name] })
	}}
}

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(name string) bool { return !slices.Contains(b, name) })
}

func contains(networks []netip.Prefix, address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(address) })
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
	fits := func(v *Visit) bool {
		return v.Request != "shell" && slices.ContainsFunc(globs, func(g glob) bool { return g.match(v.Command) })
	}
	return condition{"command", fits, func(by *compiled) bool {
		covered := func(other glob) bool {
			return slices.ContainsFunc(globs, func(g glob) bool { return g.covers(other) })
		}
		return len(by.globs) > 0 && !slices.ContainsFunc(by.globs, func(other glob) bool { return !covered(other) })
	}}
}

func (r *Rule) times() (all []condition) {
	if !r.From.IsZero() {
		all = append(all, condition{"from", func(v *Visit) bool { return !v.Now.Before(r.From) },
			func(by *compiled) bool { return !by.From.Before(r.From) }})
	}
	if !r.Until.IsZero() {
		all = append(all, condition{"until", func(v *Visit) bool { return v.Now.Before(r.Until) },
			func(by *compiled) bool { return !by.Until.IsZero() && !by.Until.After(r.Until) }})
	}
	return all
}

// describe returns what the visitor has for a condition.
func describe(v *Visit, key string) string {
	switch strings.TrimPrefix(key, "not-") {
	case "users", "groups":
		return v.User
	case "keys":
		return v.Key
	case "principals":
		return strings.Join(v.Principals, " ")
	case "methods":
		return v.Method
	case "networks":
		return showAddress(v.Address)
	case "request":
		return v.Request
	case "command":
		return v.Command
	case "terminal":
		return map[bool]string{true: "requested", false: "not requested"}[v.Terminal]
	}
	return v.Now.Format(time.RFC3339)
}
