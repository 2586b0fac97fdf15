package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
)

// progress is a line on a terminal that says how far a measurement is.
type progress struct {
	done chan struct{}
	over sync.WaitGroup
}

// everyLine is how often the line is written anew.
const everyLine = 250 * time.Millisecond

// startProgress shows what tell says for as long as the measurement runs, where w is a terminal, and nothing elsewhere.
func startProgress(w io.Writer, tell func() string) *progress {
	p := &progress{done: make(chan struct{})}
	file, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(file.Fd()) {
		return p
	}
	p.over.Go(func() {
		ticker := time.NewTicker(everyLine)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_, _ = io.WriteString(w, "\r"+ansi.Truncate(tell(), width(file)-1, "…")+ansi.EraseLineRight)
			case <-p.done:
				_, _ = io.WriteString(w, "\r"+ansi.EraseLineRight)
				return
			}
		}
	})
	return p
}

func width(file *os.File) int {
	if columns, _, err := term.GetSize(file.Fd()); err == nil && columns > 1 {
		return columns
	}
	return 80
}

// stop takes the line away.
func (p *progress) stop() {
	close(p.done)
	p.over.Wait()
}

// progress tells how far the logins are.
func (p pace) progress(r *record) func() string {
	begun := time.Now()
	return func() string {
		elapsed := time.Since(begun)
		r.mu.Lock()
		defer r.mu.Unlock()
		of := ""
		switch {
		case p.duration > 0:
			of = fmt.Sprintf(" of %s", p.duration)
		case p.count > 0:
			of = fmt.Sprintf(" (%d%%)", 100*(r.logins+r.failures)/p.count)
		}
		whole := percentilesOf(r.histograms[wholeLogin])
		return fmt.Sprintf("%.0fs%s  %s logins  %.0f a second  p50 %s  p99 %s  %s failed", elapsed.Seconds(), of,
			count(r.logins), float64(r.logins)/elapsed.Seconds(), ms(whole.P50), ms(whole.P99), count(r.failures))
	}
}
