package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"foyer/middleware/eventlog/sanitize"
)

// loginReport is what is said at the end of a measurement of logins, as a table and as JSON. The names of the fields
// end in their units; fields that were not measured are null.
type loginReport struct {
	Mode        string          `json:"mode"`    // "login"
	Started     time.Time       `json:"started"` // RFC 3339
	Door        doorReport      `json:"door"`    //
	Pace        paceReport      `json:"pace"`    // what was asked for
	Seconds     float64         `json:"seconds"` // from the first start to the last end
	Logins      int64           `json:"logins"`  // that succeeded
	Failed      int64           `json:"failed"`  //
	PerSecond   float64         `json:"logins_per_s"`
	Latency     latencyReport   `json:"latency"`  // of those that succeeded
	Failures    []reasonCount   `json:"failures"` // the most frequent first
	Queue       *queueReport    `json:"queue"`    // null in a closed loop
	Server      *serverReport   `json:"server"`   // null without --pid and --cgroup, or if it died
	Own         generatorReport `json:"generator"`
	Timeline    []interval      `json:"timeline"`
	GaveUp      bool            `json:"gave_up"` // the first logins to end all failed
	Interrupted bool            `json:"interrupted"`
	lost        error           // why there is no Server
}

// doorReport says who was knocked on. What the server says of itself is empty where nobody got in.
type doorReport struct {
	Target  string `json:"target"`  // user@host:port
	Address string `json:"address"` // IP address and port
	Version string `json:"server_version"`
	Kex     string `json:"kex"`
	HostKey string `json:"hostkey_algorithm"`
	Cipher  string `json:"cipher"`
}

// paceReport is how visitors came. What set no bound is 0.
type paceReport struct {
	Loop     string  `json:"loop"` // "closed" or "open"
	Visitors int     `json:"concurrency"`
	Seconds  float64 `json:"duration_s"`
	Count    int64   `json:"count"`
	Rate     float64 `json:"rate_per_s"`
}

// latencyReport has each phase by itself; login is all of them and the end, from the intended start.
type latencyReport struct {
	Connect        percentiles `json:"connect"`
	KeyExchange    percentiles `json:"key_exchange"`
	Authentication percentiles `json:"authentication"`
	FirstByte      percentiles `json:"first_byte"`
	Login          percentiles `json:"login"`
}

func (l latencyReport) rows() [phases]percentiles {
	return [phases]percentiles{l.Connect, l.KeyExchange, l.Authentication, l.FirstByte, l.Login}
}

// queueReport says whether logins of an open loop began when they should have.
type queueReport struct {
	Late   percentiles `json:"late"`   // how much later they began
	Waited int64       `json:"waited"` // how many found all visitors busy
	Behind bool        `json:"behind"` // knock did not keep the pace
}

// serverReport is what the server used.
type serverReport struct {
	CPU      float64  `json:"cpu_s"`
	PerLogin *float64 `json:"cpu_ms_per_login"` // null where no login succeeded
	Memory   *memory  `json:"memory"`           // null where nobody counts it
}

// generatorReport is what knock used itself, on a machine that it may share with the server.
type generatorReport struct {
	CPU      float64  `json:"cpu_s"`
	PerLogin *float64 `json:"cpu_ms_per_login"`
}

func newLoginReport(d *door, p pace, m *measurement) *loginReport {
	r := m.record
	report := &loginReport{
		Mode: "login", Started: r.began, Door: d.report(r.server), Pace: p.report(),
		Seconds: m.elapsed.Seconds(), Logins: r.logins, Failed: r.failures,
		PerSecond: float64(r.logins) / m.elapsed.Seconds(),
		Latency:   r.latency(), Failures: r.reasons.sorted(),
		Own:      generatorReport{m.own.Seconds(), perLogin(m.own, r.logins)},
		Timeline: r.samples.timeline(m.elapsed), GaveUp: m.gaveUp, Interrupted: m.interrupted, lost: m.lost,
	}
	if p.rate > 0 {
		late := percentilesOf(r.late)
		report.Queue = &queueReport{late, m.waited, late.P99 > tolerable}
	}
	if m.usage != nil {
		report.Server = m.usage.report(r.logins)
	}
	return report
}

// tolerable is how many milliseconds late the last of a hundred logins may begin for the pace to have been kept: more
// than a busy scheduler takes, and less than what a queue adds.
const tolerable = 10

func (d *door) report(f facts) doorReport {
	return doorReport{
		Target: d.target.String(), Address: d.address, Version: sanitize.String(f.version, maxReason),
		Kex: f.algorithms.KeyExchange, HostKey: f.algorithms.HostKey, Cipher: f.algorithms.Read.Cipher,
	}
}

func (p pace) report() paceReport {
	loop := "closed"
	if p.rate > 0 {
		loop = "open"
	}
	return paceReport{loop, p.visitors, p.duration.Seconds(), p.count, p.rate}
}

func (r *record) latency() latencyReport {
	h := r.histograms
	return latencyReport{
		percentilesOf(h[connect]), percentilesOf(h[keyExchange]), percentilesOf(h[authentication]),
		percentilesOf(h[firstByte]), percentilesOf(h[wholeLogin]),
	}
}

func (u *usage) report(logins int64) *serverReport {
	report := &serverReport{CPU: u.cpu.Seconds(), PerLogin: perLogin(u.cpu, logins)}
	if u.memory.Before >= 0 {
		report.Memory = &u.memory
	}
	return report
}

// perLogin returns milliseconds, and nothing where there is nothing to divide by.
func perLogin(cpu time.Duration, logins int64) *float64 {
	if logins == 0 {
		return nil
	}
	each := cpu.Seconds() * 1e3 / float64(logins)
	return &each
}

func writeJSON(w io.Writer, report any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(report)
}

// table writes the report for people.
func (r *loginReport) table(w io.Writer) {
	r.Door.table(w)
	_, _ = fmt.Fprintf(w, "\n%s in %.1f s, %s a second, %s; %s\n\n",
		plural(r.Logins, "login"), r.Seconds, significant(r.PerSecond), r.Pace, failedCount(r.Failed))
	if r.Logins > 0 {
		r.Latency.table(w)
	}
	failuresTable(w, r.Failures)
	if r.Server != nil {
		r.Server.table(w, r.Seconds)
	}
	if r.Own.PerLogin != nil {
		_, _ = fmt.Fprintf(w, "knock's CPU      %s a login\n", ms(*r.Own.PerLogin))
	}
	for _, note := range r.notes() {
		_, _ = fmt.Fprintf(w, "note: %s\n", note)
	}
}

func (d doorReport) table(w io.Writer) {
	_, _ = fmt.Fprintf(w, "door     %s at %s\n", sanitize.String(d.Target, maxReason), d.Address)
	if d.Version != "" {
		_, _ = fmt.Fprintf(w, "server   %s, with %s, %s, %s\n", d.Version, d.Kex, d.HostKey, d.Cipher)
	}
}

func (p paceReport) String() string {
	if p.Loop == "open" {
		return fmt.Sprintf("asked for %s a second", significant(p.Rate))
	}
	return "by " + plural(int64(p.Visitors), "visitor") + " at a time"
}

func (l latencyReport) table(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%-16s%10s%10s%10s%10s\n", "", "p50", "p90", "p99", "max")
	for p, row := range l.rows() {
		if row.Count > 0 {
			_, _ = fmt.Fprintf(w, "%-16s%10s%10s%10s%10s\n", phase(p), ms(row.P50), ms(row.P90), ms(row.P99), ms(row.Max))
		}
	}
	_, _ = fmt.Fprintln(w)
}

func failuresTable(w io.Writer, failures []reasonCount) {
	for _, f := range failures {
		_, _ = fmt.Fprintf(w, "%10s  %s\n", count(f.Count), f.Reason)
	}
	if len(failures) > 0 {
		_, _ = fmt.Fprintln(w)
	}
}

func (s *serverReport) table(w io.Writer, seconds float64) {
	if s.PerLogin != nil {
		_, _ = fmt.Fprintf(w, "server CPU       %s a login, %.0f %% of a core\n", ms(*s.PerLogin), 100*s.CPU/seconds)
	}
	if s.Memory != nil {
		_, _ = fmt.Fprintf(w, "server memory    %s before, %s at most, %s after\n",
			size(s.Memory.Before), size(s.Memory.Peak), size(s.Memory.After))
	}
}

// notes are what a reader has to know to read the figures right.
func (r *loginReport) notes() (notes []string) {
	if r.GaveUp {
		// Others were under way, and may have succeeded since.
		notes = append(notes, fmt.Sprintf("given up: the first %s logins to end all failed", count(hopeless(r.Pace.Visitors))))
	}
	if r.Interrupted {
		notes = append(notes, "interrupted; logins that were not done are not counted")
	}
	if r.Queue != nil && r.Queue.Behind {
		notes = append(notes, r.Queue.String())
	}
	if r.lost != nil {
		notes = append(notes, leftOut(r.lost))
	}
	if r.Server != nil && r.Server.CPU == 0 && r.Logins > 0 {
		notes = append(notes, "what --pid or --cgroup names used no CPU: is it the server?")
	}
	if r.Server != nil && r.Failed > 0 && r.Logins > 0 {
		notes = append(notes, "the server's CPU went into the failed logins too")
	}
	return notes
}

// String says that knock did not keep the pace, and whose fault that was.
func (q *queueReport) String() string {
	cause := "this machine is too busy to begin logins in time"
	if q.Waited > 0 {
		cause = plural(q.Waited, "login") + " found all visitors busy: the server is slower than the rate, or -c too low"
	}
	return fmt.Sprintf("knock did not keep the pace: logins began up to %s late, p99 %s. %s",
		ms(q.Late.Max), ms(q.Late.P99), strings.ToUpper(cause[:1])+cause[1:])
}
