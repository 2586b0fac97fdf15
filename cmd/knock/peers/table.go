//go:build !windows

package main

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"

	"foyer/cmd/knock/report"
)

// table is the result of a bench.
type table struct {
	rows    []row
	compare *report.Compare // the last one
}

// row is one server.
type row struct {
	peer
	memory map[string]*float64        // bytes per connection, by knock's mode
	logins map[string]report.Compared // by authentication method
}

func (t *table) add(method string, result *report.Compare) {
	t.compare = result
	for i, s := range result.Servers {
		t.rows[i].logins[method] = s
	}
}

// markdown writes the table as Markdown.
func (t *table) markdown() string {
	var w strings.Builder
	_, _ = fmt.Fprintf(&w, "%s, %d cores, %s; %d rounds of %gs, %d logins at a time\n\n",
		time.Now().Format("2 January 2006"), runtime.NumCPU(), runtime.Version(), t.compare.Rounds,
		t.compare.Window, t.compare.Concurrency)
	line(&w, "server", "CPU by key", "to foyer's", "CPU by password", "to foyer's", "held", "silent")
	line(&w, "---", "--:", "--:", "--:", "--:", "--:", "--:")
	for _, r := range t.rows {
		cells := []string{r.name}
		for _, method := range methods {
			cells = append(cells, cell(r.logins[method].CPU.Median*1e3, "µs"), r.logins[method].CPURatio.String())
		}
		for _, mode := range modes {
			cells = append(cells, "")
			if each := r.memory[mode]; each != nil {
				cells[len(cells)-1] = cell(*each/1024, "KiB")
			}
		}
		line(&w, cells...)
	}
	_, _ = fmt.Fprintln(&w)
	for _, r := range t.rows {
		server := r.logins[methods[0]].Server
		_, _ = fmt.Fprintf(&w, "- %s: %s; %s, %s\n", r.name, r.about, server.Version, server.Cipher)
	}
	return w.String()
}

func line(w *strings.Builder, cells ...string) {
	_, _ = fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

func cell(n float64, unit string) string { return report.Count(int64(math.Round(n))) + " " + unit }
