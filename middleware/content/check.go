package content

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"foyer/middleware/content/placeholder"
)

// Problem is what is wrong with settings.
type Problem struct {
	At      string // where, such as "foyer.toml:12"; may be empty
	Err     error
	Warning bool // the settings can be used all the same
}

func (p *Problem) Error() string {
	if p.At == "" {
		return p.Err.Error()
	}
	return fmt.Sprintf("%s: %v", p.At, p.Err)
}

// Unwrap returns the problem without its place.
func (p *Problem) Unwrap() error { return p.Err }

// Check returns all problems of settings: the errors of [New], and warnings.
func Check(s Settings, now time.Time) []*Problem {
	t, problems := compile(s)
	for _, group := range slices.Sorted(maps.Keys(s.Groups)) {
		if len(s.Groups[group]) == 0 {
			p := &Problem{Err: fmt.Errorf("group %q has no users", group), Warning: true}
			if s.GroupAt != nil {
				p.At = s.GroupAt(group)
			}
			problems = append(problems, p)
		}
	}
	all := slices.Concat(t.answers.all, t.notices.all)
	if t.banner != nil {
		all = append(all, t.banner)
	}
	for _, c := range all {
		if c.past(now) {
			problems = append(problems, c.warning("until", "%s has passed", c.Until.Format(time.RFC3339)))
		}
	}
	return append(problems, unreachable(t.answers.all)...)
}

// unreachable finds answers for whose visitors an earlier one is always said.
func unreachable(answers []*compiled) (problems []*Problem) {
	for i, c := range answers {
		covers := func(earlier *compiled) bool {
			return !slices.ContainsFunc(earlier.all, func(cond condition) bool { return !cond.implied(c) })
		}
		if first := slices.IndexFunc(answers[:i], covers); first >= 0 {
			problems = append(problems, c.warning("", "is never said: the answer at %s fits all of its visitors", answers[first].at("")))
		}
	}
	return problems
}

func (r *Rule) problem(key, format string, args ...any) *Problem {
	return &Problem{At: r.at(key), Err: fmt.Errorf(format, args...)}
}

func (r *Rule) warning(key, format string, args ...any) *Problem {
	p := r.problem(key, format, args...)
	p.Warning = true
	return p
}

// compile returns the table of settings, and their errors.
func compile(s Settings) (*Table, []*Problem) {
	t := &Table{groups: groupsOf(s.Groups)}
	answers, problems := compileAll(s, s.Answers)
	notices, more := compileAll(s, s.Notices)
	t.answers, t.notices = rules{answers, newIndex(answers)}, rules{notices, newIndex(notices)}
	problems = append(problems, more...)
	if s.Banner != nil {
		banner, more := compileAll(s, []Rule{*s.Banner})
		t.banner = banner[0]
		problems = append(problems, append(more, t.banner.early()...)...)
	}
	return t, problems
}

func compileAll(s Settings, rules []Rule) (all []*compiled, problems []*Problem) {
	for i := range rules {
		c := &compiled{Rule: &rules[i]}
		problems = append(problems, c.compileGlobs()...)
		problems = append(problems, c.open(s.Texts)...)
		problems = append(problems, c.check(s.Groups)...)
		c.all = c.conditions()
		all = append(all, c)
	}
	return all, problems
}

func (c *compiled) compileGlobs() (problems []*Problem) {
	for _, pattern := range c.Command {
		g, err := newGlob(pattern)
		if err != nil {
			problems = append(problems, c.problem("command", "%w", err))
			continue
		}
		c.globs = append(c.globs, g)
	}
	return problems
}

// open opens the text.
func (c *compiled) open(texts *Texts) []*Problem {
	key, err := "text", error(nil)
	switch {
	case c.Text != "" && c.File != "":
		return []*Problem{c.problem("file", "a rule has a text or a file, not both")}
	case c.File != "":
		key = "file"
		c.text, err = texts.Open(c.File)
	case c.Text != "":
		c.text, err = Plain(c.Text)
		if problem, ok := errors.AsType[*placeholder.Error](err); ok && !strings.Contains(c.Text, "\n") {
			err = problem.Err
		}
	default:
		return []*Problem{c.problem("", "a rule needs a text or a file")}
	}
	if err != nil {
		return []*Problem{c.problem(key, "%w", err)}
	}
	return nil
}

var fingerprint = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)

// check returns the errors in the keys that stand for themselves.
func (c *compiled) check(groups map[string][]string) (problems []*Problem) {
	known := func(name string) bool { _, ok := groups[name]; return ok }
	request := func(name string) bool { return slices.Contains([]string{"shell", "exec", "subsystem"}, name) }
	problems = slices.Concat(
		c.invalid("groups", c.Groups, known, "unknown group %q"),
		c.invalid("not-groups", c.NotGroups, known, "unknown group %q"),
		c.invalid("keys", c.Keys, fingerprint.MatchString, "%q is not a SHA256 fingerprint; to see that of a key, run: ssh-keygen -lf KEY.pub"),
		c.invalid("not-keys", c.NotKeys, fingerprint.MatchString, "%q is not a SHA256 fingerprint; to see that of a key, run: ssh-keygen -lf KEY.pub"),
		c.invalid("request", c.Request, request, "%q is not one of shell, exec, subsystem"))
	if c.Exit != nil && (*c.Exit < 0 || *c.Exit > 254) {
		problems = append(problems, c.problem("exit", "%d is not an exit status from 0 to 254; 255 is ssh's own", *c.Exit))
	}
	if !c.From.IsZero() && !c.Until.IsZero() && !c.From.Before(c.Until) {
		problems = append(problems, c.problem("until", "is not after from"))
	}
	return problems
}

// invalid returns a problem for each name that is not valid.
func (r *Rule) invalid(key string, names []string, valid func(string) bool, format string) (problems []*Problem) {
	for _, name := range names {
		if !valid(name) {
			problems = append(problems, r.problem(key, format, name))
		}
	}
	return problems
}

// maxBanner is the largest banner, in bytes. It may be laid out for each client, before it is known who that is.
const maxBanner = 16 << 10

// early returns the errors of a banner, which is said before it is known who visits.
func (c *compiled) early() (problems []*Problem) {
	for _, condition := range c.all {
		if !slices.Contains([]string{"networks", "not-networks", "from", "until"}, condition.key) {
			problems = append(problems, c.problem(condition.key, "a banner cannot have this condition, which is not known before authentication"))
		}
	}
	if c.text == nil {
		return problems
	}
	if c.text.current().size > maxBanner {
		problems = append(problems, c.problem("", "what is said before authentication has %d KiB at most", maxBanner>>10))
	}
	for _, name := range c.text.current().names {
		if !slices.Contains([]string{"address", "client", "server", "time", "date", "until", "left"}, name) {
			problems = append(problems, c.problem("", "a banner cannot have the placeholder {%s}, which is not known before authentication", name))
		}
	}
	return problems
}
