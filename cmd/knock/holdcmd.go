package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"foyer/cmd/cli"

	"github.com/spf13/cobra"
)

func holdCommand() *cobra.Command {
	return holdingCommand(&cobra.Command{
		Use:   "hold N USER@HOST:PORT",
		Short: "Hold N idle connections, and see what they cost",
		Long: "hold opens N connections that authenticate and then do nothing. With --pid or --cgroup it says how much\n" +
			"memory the server spends on each. It exits 0 only if all were opened and none was dropped.",
	}, authenticated)
}

func preauthCommand() *cobra.Command {
	return holdingCommand(&cobra.Command{
		Use:   "preauth N USER@HOST:PORT",
		Short: "Hold N connections that never say a word",
		Long: "preauth opens N connections and says nothing on them. With --pid or --cgroup it says how much memory the\n" +
			"server spends on each. It exits 0 only if all were opened and none was dropped, though to drop them after\n" +
			"a while is what a server should do: see it with a --for that is longer than its patience.",
	}, silent)
}

// holdFlags are the flags of hold and preauth.
type holdFlags struct {
	*settings
	output
	openers int
	keep    time.Duration
}

func holdingCommand(cmd *cobra.Command, wait waiter) *cobra.Command {
	f := &holdFlags{settings: newSettings()}
	mode := cmd.Name()
	cmd.Args = arguments(2, 2)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.run(cmd, mode, wait, args[0], args[1]) }
	fs := cmd.Flags()
	fs.IntVarP(&f.openers, "concurrency", "c", defaultVisitors, "how many to open at a time")
	fs.DurationVar(&f.keep, "for", 10*time.Second, "how long to keep them once all are open")
	f.addShared(fs)
	f.addMeter(fs)
	f.addJSON(fs)
	return cmd
}

func (f *holdFlags) run(cmd *cobra.Command, mode string, wait waiter, number, where string) error {
	asked, err := strconv.ParseInt(number, 10, 32)
	if err != nil || asked < 1 {
		return cli.Misuse("say how many, as in: "+cmd.CommandPath()+" 1000 guest@localhost:2022", "%q connections", number)
	}
	if f.openers < 1 || f.keep < 0 {
		return cli.Misuse("say more than 0", "concurrency %d, for %s", f.openers, f.keep)
	}
	if err := affordable("connections", asked); err != nil {
		return err
	}
	f.anonymous = mode == "preauth"
	d, err := f.door(cmd.Context(), where)
	if err != nil {
		return err
	}
	h := &holding{door: d, record: newRecord(), asked: asked, wait: wait}
	err = attended(cmd, h.progress, func(ctx context.Context) error { return h.hold(ctx, f.openers, f.keep) })
	if err != nil {
		return err
	}
	if err := f.print(cmd.OutOrStdout(), newHoldReport(mode, h)); err != nil {
		return err
	}
	return h.verdict()
}

// progress tells how many are open.
func (h *holding) progress() string {
	_, failures := h.record.counts()
	return fmt.Sprintf("%s of %s connections open, %s", count(h.open.Load()), count(h.asked), failedCount(failures))
}

// holdReport is what is said of connections that were held, as a table and as JSON; see [loginReport].
type holdReport struct {
	Mode        string        `json:"mode"` // "hold" or "preauth"
	Started     time.Time     `json:"started"`
	Door        doorReport    `json:"door"`
	Asked       int64         `json:"asked"`
	Opened      int64         `json:"opened"`
	Failed      int64         `json:"failed"`
	Dropped     int64         `json:"dropped"`   // by the server, after they were open
	Opening     float64       `json:"opening_s"` // how long it took to open them
	Held        float64       `json:"held_s"`    // how long they were kept
	Latency     latencyReport `json:"latency"`
	Failures    []reasonCount `json:"failures"`
	CPU         *float64      `json:"cpu_ms_per_connection"` // of the server, to open one
	Memory      *heldMemory   `json:"memory"`                // of the server
	GaveUp      bool          `json:"gave_up"`               // the first to end all failed
	Interrupted bool          `json:"interrupted"`
	lost        error         // why there is neither CPU nor Memory
}

func newHoldReport(mode string, h *holding) *holdReport {
	report := &holdReport{
		Mode: mode, Started: h.record.began, Door: h.door.report(h.record.server),
		Asked: h.asked, Opened: h.opened, Failed: h.record.failures, Dropped: h.dropped,
		Opening: h.opening.Seconds(), Held: h.held.Seconds(),
		Latency: h.record.latency(), Failures: h.record.reasons.sorted(),
		Memory: h.memory, GaveUp: h.gaveUp, Interrupted: h.interrupted, lost: h.lost,
	}
	if h.door.meter != nil && h.lost == nil {
		report.CPU = perLogin(h.cpu, h.opened)
	}
	return report
}

// table writes the report for people.
func (r *holdReport) table(w io.Writer) {
	r.Door.table(w)
	_, _ = fmt.Fprintf(w, "\n%s of %s opened in %.1f s, %s%s\n\n",
		count(r.Opened), plural(r.Asked, "connection"), r.Opening, failedCount(r.Failed), r.fate())
	if r.Opened > 0 {
		r.Latency.table(w)
	}
	failuresTable(w, r.Failures)
	if r.CPU != nil {
		_, _ = fmt.Fprintf(w, "server CPU       %s to open one\n", ms(*r.CPU))
	}
	if r.Memory != nil {
		_, _ = fmt.Fprintf(w, "server memory    %s\n", r.Memory)
	}
	if r.GaveUp {
		_, _ = fmt.Fprintln(w, "note: given up: the first to end all failed")
	}
	if r.lost != nil {
		_, _ = fmt.Fprintf(w, "note: %s\n", leftOut(r.lost))
	}
	if r.Interrupted {
		_, _ = fmt.Fprintln(w, "note: interrupted")
	}
}

// fate says what became of those that were opened.
func (r *holdReport) fate() string {
	if r.Opened == 0 {
		return ""
	}
	dropped := "none was dropped"
	if r.Dropped > 0 {
		dropped = count(r.Dropped) + " dropped by the server"
	}
	return fmt.Sprintf("; held for %.1f s, %s", r.Held, dropped)
}

func (m *heldMemory) String() string {
	text := fmt.Sprintf("%s before, %s once they were open", size(m.Before), size(m.Held))
	if m.End != nil {
		text += fmt.Sprintf(", %s at the end", size(*m.End))
	}
	if m.Each != nil {
		text += fmt.Sprintf(": %s a connection", size(int64(*m.Each)))
	}
	return text
}
