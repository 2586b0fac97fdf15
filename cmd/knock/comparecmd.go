package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"foyer/cmd/cli"

	"github.com/spf13/cobra"
)

// compareFlags are the flags of compare.
type compareFlags struct {
	*settings
	output
	visitors, rounds int
	window           time.Duration
}

func compareCommand() *cobra.Command {
	f := &compareFlags{settings: newSettings()}
	cmd := &cobra.Command{
		Use:   "compare DOOR DOOR [DOOR...]",
		Short: "Compare doors by what a login costs them",
		Long: "compare measures running doors in turn, in short windows and many rounds, each in an order of its own, and\n" +
			"prints the ratio of each door to the first, round by round: on a noisy machine that is the figure to trust.\n" +
			"The same door twice says how far. It starts no server.\n\n" +
			"A DOOR is NAME=USER@HOST[:PORT], and after it, with commas between, what is its own:\n" +
			"pid=PID or cgroup=PATH, key=FILE, password-file=FILE, open=true, expect=FILE, known-hosts=FILE,\n" +
			"kex=A:B, cipher=A:B, hostkey-algorithm=A:B. The flags are for all doors that say nothing else: one that says how\n" +
			"to get in has neither --key nor --password-file nor --open.",
		Example: "knock compare a=guest@localhost:2022,pid=123 b=guest@localhost:2222,pid=456 --key id_ed25519\n" +
			"knock compare old=guest@localhost:2022,pid=123 again=guest@localhost:2022,pid=123 --json",
		Args: arguments(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.IntVarP(&f.visitors, "concurrency", "c", defaultVisitors, "visitors at a time")
	fs.IntVar(&f.rounds, "rounds", 15, "how many rounds to measure, after one that does not count")
	fs.DurationVar(&f.window, "window", time.Second, "how long each door is measured in a round")
	f.addShared(fs)
	f.addExpect(fs)
	f.addJSON(fs)
	return cmd
}

func (f *compareFlags) run(cmd *cobra.Command, args []string) error {
	if f.visitors < 1 || f.rounds < 1 || f.window <= 0 {
		return cli.Misuse("say more than 0", "concurrency %d, %d rounds, window %s", f.visitors, f.rounds, f.window)
	}
	if err := affordable("visitors at a time", int64(f.visitors)); err != nil {
		return err
	}
	c := &contest{visitors: f.visitors, window: f.window, rounds: f.rounds}
	var err error
	if c.doors, err = f.doors(cmd.Context(), args); err != nil {
		return err
	}
	var state atomic.Value
	state.Store("")
	err = attended(cmd, func() string { return state.Load().(string) }, func(ctx context.Context) error {
		return c.run(ctx, shuffled, func(round int, door string) {
			state.Store(fmt.Sprintf("%s, of %s: %s", nameOf(round), plural(int64(c.rounds), "round"), door))
		})
	})
	if err != nil && len(c.results) == 0 {
		return err
	}
	report := newCompareReport(c)
	if unwritten := f.print(cmd.OutOrStdout(), report); unwritten != nil {
		return unwritten
	}
	if err != nil {
		return err
	}
	switch {
	case report.Rounds == 0:
		return errNothing
	case !report.successful():
		return errUnsuccessful
	}
	return nil
}

// doors opens all doors; their names have to differ. A prompt for a password asks once for each user.
func (f *compareFlags) doors(ctx context.Context, args []string) (doors []*door, err error) {
	f.prompt = remembered(f.prompt)
	for _, arg := range args {
		d, err := f.own(ctx, arg)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(doors, func(other *door) bool { return other.name == d.name }) {
			return nil, cli.Misuse("call one of them something else", "two doors are called %s", d.name)
		}
		doors = append(doors, d)
	}
	return doors, nil
}

func remembered(ask func(string) (string, error)) func(string) (string, error) {
	known := map[string]string{}
	return func(user string) (password string, err error) {
		password, asked := known[user]
		if !asked {
			password, err = ask(user)
			known[user] = password
		}
		return password, err
	}
}

const doorHint = "say NAME=USER@HOST:PORT,pid=PID; run: knock compare --help"

// own opens one door, with the settings that are its own.
func (f *compareFlags) own(ctx context.Context, arg string) (*door, error) {
	parts := strings.Split(arg, ",")
	name, where, found := strings.Cut(parts[0], "=")
	if !found || name == "" {
		return nil, cli.Misuse(doorHint, "door %q has no name", arg)
	}
	s := *f.settings
	if slices.ContainsFunc(parts[1:], letsIn) { // then no flag does; the door's own open=true is still to come
		s.key, s.passwordFile, s.open = "", "", false
	}
	for _, part := range parts[1:] {
		if err := s.set(part); err != nil {
			return nil, cli.Misuse(doorHint, "door %s: %w", name, err)
		}
	}
	d, err := s.door(ctx, where)
	if err != nil {
		return nil, fmt.Errorf("door %s: %w", name, err)
	}
	d.name = name
	return d, nil
}

// letsIn reports whether a part is what a door's visitors log in with.
func letsIn(part string) bool {
	return strings.HasPrefix(part, "key=") || strings.HasPrefix(part, "password-file=")
}

// set sets one thing that is a door's own.
func (s *settings) set(part string) (err error) {
	name, value, found := strings.Cut(part, "=")
	texts := map[string]*string{"key": &s.key, "password-file": &s.passwordFile, "cgroup": &s.cgroup,
		"expect": &s.expect, "known-hosts": &s.knownHosts}
	lists := map[string]*[]string{"kex": &s.kex, "cipher": &s.ciphers, "hostkey-algorithm": &s.hostKeys}
	switch text, list := texts[name], lists[name]; {
	case !found || value == "":
		return fmt.Errorf("%q is not name=value", part)
	case text != nil:
		*text = value
	case list != nil:
		*list = strings.Split(value, ":")
	case name == "pid":
		return s.pid.Set(value)
	case name == "open":
		s.open, err = strconv.ParseBool(value)
	default:
		return fmt.Errorf("there is no %q", name)
	}
	if err != nil {
		return fmt.Errorf("%s is not %q", name, value)
	}
	return nil
}

// compareReport is what is said of a comparison, as a table and as JSON; see [loginReport].
type compareReport struct {
	Mode        string       `json:"mode"` // "compare"
	Started     time.Time    `json:"started"`
	Visitors    int          `json:"concurrency"`
	Window      float64      `json:"window_s"`
	Asked       int          `json:"rounds_asked"`
	Rounds      int          `json:"rounds"` // that were complete
	Doors       []contestant `json:"doors"`  // the first is what the others are compared with
	Interrupted bool         `json:"interrupted"`
}

// contestant is one door of a comparison. Ratios are to the first door, round by round; null where they are unknown.
type contestant struct {
	Name            string        `json:"name"`
	Door            doorReport    `json:"door"`
	Logins          int64         `json:"logins"`
	Failed          int64         `json:"failed"`
	CPU             *quartiles    `json:"cpu_ms_per_login"`
	CPURatio        *quartiles    `json:"cpu_ratio"`
	Throughput      *quartiles    `json:"logins_per_s"`
	ThroughputRatio *quartiles    `json:"throughput_ratio"`
	Latency         latencyReport `json:"latency"` // of all windows together
	Failures        []reasonCount `json:"failures"`
	Rounds          []window      `json:"rounds"`
}

func newCompareReport(c *contest) *compareReport {
	report := &compareReport{
		Mode: "compare", Visitors: c.visitors, Window: c.window.Seconds(), Asked: c.rounds,
		Rounds: len(c.results), Interrupted: c.interrupted, Started: c.started,
	}
	for i, d := range c.doors {
		r := c.records[i]
		one := contestant{
			Name: d.name, Door: d.report(r.server), Logins: r.logins, Failed: r.failures,
			CPU: quartilesOf(c.values(i, cpuPerLogin)), CPURatio: quartilesOf(c.ratios(i, cpuPerLogin)),
			Throughput:      quartilesOf(c.values(i, loginsPerSecond)),
			ThroughputRatio: quartilesOf(c.ratios(i, loginsPerSecond)),
			Latency:         r.latency(), Failures: r.reasons.sorted(),
		}
		for _, round := range c.results {
			one.Rounds = append(one.Rounds, round[i])
		}
		report.Doors = append(report.Doors, one)
	}
	return report
}

// successful reports whether no login failed in any round.
func (r *compareReport) successful() bool {
	return !slices.ContainsFunc(r.Doors, func(d contestant) bool { return d.Failed > 0 })
}

// table writes the report for people.
func (r *compareReport) table(w io.Writer) {
	if r.Rounds == 0 {
		_, _ = fmt.Fprintln(w, "interrupted before a round was complete")
		return
	}
	_, _ = fmt.Fprintf(w, "%s of %s a door, %s at a time; median (quartiles) of the ratios to %s, round by round\n\n",
		plural(int64(r.Rounds), "round"), time.Duration(r.Window*float64(time.Second)),
		plural(int64(r.Visitors), "visitor"), r.Doors[0].Name)
	longest := len("door")
	for _, d := range r.Doors {
		longest = max(longest, utf8.RuneCountInString(d.Name))
	}
	format := fmt.Sprintf("%%-%ds  %%11s  %%-21s  %%10s  %%-21s  %%9s  %%9s  %%7s\n", longest)
	_, _ = fmt.Fprintf(w, format, "door", "CPU a login", "ratio", "logins/s", "ratio", "p50", "p99", "failed")
	for _, d := range r.Doors {
		_, _ = fmt.Fprintf(w, format, d.Name, d.CPU.median(ms), d.CPURatio, d.Throughput.median(significant),
			d.ThroughputRatio, ms(d.Latency.Login.P50), ms(d.Latency.Login.P99), count(d.Failed))
	}
	for _, d := range r.Doors {
		if d.Failed > 0 {
			_, _ = fmt.Fprintf(w, "\n%s:\n", d.Name)
			failuresTable(w, d.Failures)
		}
	}
	if r.Interrupted {
		_, _ = fmt.Fprintln(w, "note: interrupted; a round that was not complete is not counted")
	}
}

// median writes one figure, and a dash where it was not measured.
func (q *quartiles) median(write func(float64) string) string {
	if q == nil {
		return "-"
	}
	return write(q.Median)
}

// String writes ratios.
func (q *quartiles) String() string {
	if q == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s to %s)", ratio(q.Median), ratio(q.Q1), ratio(q.Q3))
}
