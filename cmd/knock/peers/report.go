package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// report is all that was measured.
type report struct {
	Date       time.Time     `json:"date"`
	Machine    machine       `json:"machine"`
	Rounds     int           `json:"rounds"` // that were complete
	Visitors   int           `json:"concurrency"`
	Window     float64       `json:"window_s"`
	Held       int           `json:"connections_held"`
	Doors      []*doorReport `json:"doors"`
	Skipped    []skipped     `json:"skipped"`
	Primitives []primitive   `json:"primitives"`
}

// doorReport is what was measured of one door.
type doorReport struct {
	Name     string              `json:"name"`
	About    string              `json:"about"`
	Version  string              `json:"version"`
	Rival    string              `json:"rival"` // whose CPU is divided by this one's
	Compat   bool                `json:"compat"`
	Visitors int                 `json:"concurrency"`
	Logins   map[string]*figures `json:"logins"` // by method
	Trips    map[string]trips    `json:"trips"`  // by method
	Idle     float64             `json:"idle_bytes"`
	Held     float64             `json:"held_bytes_per_connection"`
	Silent   float64             `json:"silent_bytes_per_connection"`
	Start    *quartiles          `json:"start_ms"`
	door     door
}

// figures are of one door and one method.
type figures struct {
	CPU       *quartiles `json:"cpu_us_per_login"`
	Ratio     *quartiles `json:"ratio"` // the rival's CPU to this one's, by round
	PerSecond *quartiles `json:"logins_per_s"`
	P50       *quartiles `json:"p50_ms"`
	P99       *quartiles `json:"p99_ms"`
	Failed    int64      `json:"failed"`
	Windows   []window   `json:"windows"`
}

// skipped is a peer that is missing on this machine.
type skipped struct {
	Name   string `json:"name"`
	Remedy string `json:"remedy"`
}

func newReport(p *plan) *report {
	return &report{
		Date: time.Now().UTC(), Machine: thisMachine(),
		Rounds: p.rounds, Window: p.window.Seconds(), Visitors: p.visitors, Held: p.held,
	}
}

// inspected returns the doors that are in the report.
func (r *report) inspected() (inspected []door) {
	for _, d := range r.Doors {
		inspected = append(inspected, d.door)
	}
	return inspected
}

func (d *doorReport) add(method string, w window) {
	f := d.Logins[method]
	if f == nil {
		f = &figures{}
		d.Logins[method] = f
	}
	f.Windows = append(f.Windows, w)
	f.Failed += w.Failed
}

// complete takes down a round that all doors have been through.
func (r *report) complete(round int, windows []map[string]window) {
	r.Rounds = round
	for i, byMethod := range windows {
		for method, w := range byMethod {
			r.Doors[i].add(method, w)
		}
	}
}

// tells reports whether there is a complete round to tell of.
func (r *report) tells() bool {
	return slices.ContainsFunc(r.Doors, func(d *doorReport) bool { return len(d.Logins) > 0 })
}

// conclude makes the figures of all rounds.
func (r *report) conclude() {
	windows := map[string]map[string][]window{}
	for _, d := range r.Doors {
		windows[d.Name] = map[string][]window{}
		for method, f := range d.Logins {
			windows[d.Name][method] = f.Windows
		}
	}
	for _, d := range r.Doors {
		for method, f := range d.Logins {
			f.CPU, f.PerSecond = quartilesOf(over(f.Windows, cpu)), quartilesOf(over(f.Windows, throughput))
			f.P50, f.P99 = quartilesOf(over(f.Windows, p50)), quartilesOf(over(f.Windows, p99))
			f.Ratio = quartilesOf(ratios(windows[d.Rival][method], f.Windows))
		}
	}
}

// markdown writes the report as tables.
func (r *report) markdown() string {
	var w strings.Builder
	_, _ = fmt.Fprintf(&w, "%s, %s; %s\n", r.Date.Format("2 January 2006"), r.Machine, r.setting())
	if len(r.Doors) > 0 {
		r.peersTables(&w)
	}
	return w.String()
}

// peersTables are what foyer and its peers have in common.
func (r *report) peersTables(w *strings.Builder) {
	for _, method := range methods() {
		_, _ = fmt.Fprintf(w, "\n**Logins by %s**%s\n\n", method, remark(method))
		r.loginTable(w, method)
	}
	_, _ = fmt.Fprintf(w, "\n**At rest and at a distance**\n\n")
	r.restTable(w)
	_, _ = fmt.Fprintf(w, "\n**The cryptography of a login, in Go**\n\n")
	r.primitiveTable(w)
	r.versions(w)
}

func (r *report) setting() string {
	return fmt.Sprintf("%d rounds of %s a door, %d visitors at a time; medians, and for ratios the quartiles too",
		r.Rounds, time.Duration(r.Window*float64(time.Second)), r.Visitors)
}

// remark says what a reader has to know of a method.
func remark(method string) string {
	if method == password {
		return ": foyer remembers a password for five minutes once argon2id has verified it, which is its default; " +
			"sshd and dropbear hash every time, all others compare plain text"
	}
	return ""
}

func (r *report) loginTable(w *strings.Builder, method string) {
	row(w, "door", "CPU a login", "foyer's CPU to its", "logins/s", "p50", "p99")
	row(w, "---", "--:", "--:", "--:", "--:", "--:")
	for _, d := range r.Doors {
		f := d.Logins[method]
		if f == nil || f.CPU == nil {
			continue
		}
		row(w, d.title(f), fmt.Sprintf("%.0f µs", f.CPU.Median), f.Ratio.String(),
			fmt.Sprintf("%.0f", f.PerSecond.Median), ms(f.P50.Median), ms(f.P99.Median))
	}
}

// title is a door's name and what is unlike the others.
func (d *doorReport) title(f *figures) string {
	title := d.Name
	if d.Rival == compat {
		title += " (to " + compat + ")"
	}
	if d.door.visitors > 0 {
		title += fmt.Sprintf(" (%d at a time)", d.Visitors)
	}
	if f.Failed > 0 {
		title += fmt.Sprintf(" (%d failed)", f.Failed)
	}
	return title
}

func (r *report) restTable(w *strings.Builder) {
	row(w, "door", "start to first login", "memory", "a held connection", "a silent one",
		"round trips, key", "password", "login over 50 ms")
	row(w, "---", "--:", "--:", "--:", "--:", "--:", "--:", "--:")
	for _, d := range r.Doors {
		key, known := d.Trips[publickey]
		if !known {
			continue
		}
		row(w, d.Name, ms(d.Start.Median), size(d.Idle), size(d.Held), size(d.Silent),
			fmt.Sprint(key.Number), fmt.Sprint(d.Trips[password].Number), ms(key.Link*1e3))
	}
}

func (r *report) versions(w *strings.Builder) {
	_, _ = fmt.Fprintln(w)
	for _, d := range r.Doors {
		_, _ = fmt.Fprintf(w, "- %s: %s; %s\n", d.Name, d.About, d.Version)
	}
	for _, s := range r.Skipped {
		_, _ = fmt.Fprintf(w, "- %s: skipped; %s\n", s.Name, s.Remedy)
	}
}

func row(w *strings.Builder, cells ...string) {
	_, _ = fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

// String writes ratios; a door that has none is divided by nothing.
func (q *quartiles) String() string {
	if q == nil {
		return ""
	}
	digits := 2
	if q.Median < 0.1 {
		digits = 3
	}
	return fmt.Sprintf("%.*f (%.*f to %.*f)", digits, q.Median, digits, q.Q1, digits, q.Q3)
}

// ms writes milliseconds to about three digits.
func ms(v float64) string {
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f ms", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f ms", v)
	}
	return fmt.Sprintf("%.0f ms", v)
}

// size writes bytes.
func size(bytes float64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%.0f KiB", bytes/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", bytes/(1<<20))
}
