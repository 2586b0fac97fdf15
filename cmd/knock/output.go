package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"foyer/cmd/knock/report"
)

// output is the form of a report.
type output struct{ json, bench bool }

func (o *output) addFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&o.json, "json", false, "print JSON instead of tables")
	fs.BoolVar(&o.bench, "bench", false, "print Go benchmark lines instead of tables, for benchstat")
}

// print writes a report in the form that was asked for.
func (o output) print(w io.Writer, r interface {
	Table(w io.Writer, width int)
	Bench(w io.Writer)
}) error {
	var text bytes.Buffer
	switch {
	case o.json:
		encoder := json.NewEncoder(&text)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(r); err != nil {
			return err
		}
	case o.bench:
		r.Bench(&text)
	default:
		r.Table(&text, min(width(w), 100))
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// width returns the columns of the terminal that w is, or 80.
func width(w io.Writer) int {
	if file, isFile := w.(*os.File); isFile {
		if columns, _, err := term.GetSize(file.Fd()); err == nil && columns > 0 {
			return max(columns, 60)
		}
	}
	return 80
}

// runInteractive runs a measurement and shows its progress. The first Ctrl-C ends the measurement, a second one ends
// knock. Call it only when the user has answered all questions, so that Ctrl-C at a prompt ends knock.
func runInteractive(cmd *cobra.Command, status func() string, measure func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	defer showProgress(cmd.ErrOrStderr(), status)()
	return measure(ctx)
}

// showProgress keeps one line with the status on w until stop is called, if w is a terminal.
func showProgress(w io.Writer, status func() string) (stop func()) {
	file, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(file.Fd()) {
		return func() {}
	}
	var running sync.WaitGroup
	done := make(chan struct{})
	running.Go(func() {
		ticker := time.NewTicker(250 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_, _ = io.WriteString(w, "\r"+status()+ansi.EraseLineRight)
			case <-done:
				_, _ = io.WriteString(w, "\r"+ansi.EraseLineRight)
				return
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

// progress returns the status of a measurement of logins.
func (r *record) progress() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	p99 := float64(r.histograms[wholeLogin].ValueAtPercentile(99)) / 1e3
	return fmt.Sprintf("%.0f s  %s  p99 %s  %s failed", time.Since(r.start).Seconds(), report.Plural(r.logins, "login"),
		report.Milliseconds(p99), report.Count(r.failed))
}
