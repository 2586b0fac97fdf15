// Peers is the bench: it starts foyer and other SSH servers side by side, has knock log in at all of them in turn, and
// writes down what a login costs each. Run it from the top of the tree:
//
//	go run ./cmd/knock/peers            # all that is installed; some minutes
//	go run ./cmd/knock/peers quick      # a first impression
//	go run ./cmd/knock/peers --only wish,bare --rounds 31
//
// Everything is on loopback, runs from a temporary directory, and ends with it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// plan is what is asked for.
type plan struct {
	only     []string
	rounds   int
	window   time.Duration
	visitors int
	held     int // connections, to see what memory they take
	starts   int // to see how long they take
	targets  bool
	markdown string
	json     string
}

// parse reads the command line. The word quick makes defaults small, and a flag wins over it; the word targets
// asks for what the peers' table does not show.
func parse(args []string, stderr io.Writer) (*plan, error) {
	p := &plan{}
	fs := pflag.NewFlagSet("peers", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringSliceVar(&p.only, "only", nil, "the peers to measure foyer against (default: all that are installed)")
	fs.IntVar(&p.rounds, "rounds", 15, "how often every door has its turn (quick: 3)")
	fs.DurationVar(&p.window, "window", time.Second, "how long a turn is (quick: 500ms)")
	fs.IntVarP(&p.visitors, "concurrency", "c", 8, "visitors at a time")
	fs.IntVar(&p.held, "held", 200, "connections to hold, for the memory (quick: 50)")
	fs.IntVar(&p.starts, "starts", 7, "how often every door is started, for how long it takes (quick: 2)")
	fs.StringVar(&p.markdown, "markdown", "", "file for the tables, besides stdout")
	fs.StringVar(&p.json, "json", "", "file for all figures, of every round")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	for _, word := range fs.Args() {
		switch word {
		case "quick":
			p.shrink(fs)
		case "targets":
			p.targets = true
		default:
			return nil, fmt.Errorf("there is nothing called %q: quick and targets are words, all else are flags", word)
		}
	}
	if min(p.rounds, p.visitors, p.held) < 1 || p.starts < 2 || p.window <= 0 {
		return nil, errors.New("rounds, visitors and windows are more than 0, and starts more than 1")
	}
	return p, nil
}

func (p *plan) shrink(fs *pflag.FlagSet) {
	for _, quick := range []struct{ flag, value string }{
		{"rounds", "3"}, {"window", "500ms"}, {"held", "50"}, {"starts", "2"},
	} {
		if !fs.Changed(quick.flag) {
			_ = fs.Set(quick.flag, quick.value)
		}
	}
}

// run makes the measurement that args ask for.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	p, err := parse(args, stderr)
	if err != nil {
		return err
	}
	chosen, err := selected(p.only)
	if err != nil {
		return err
	}
	h, err := newHouse()
	if err != nil {
		return err
	}
	defer func() { _ = h.remove() }()
	b := newBench(p, h, stderr)
	defer b.close()
	return b.finish(stdout, b.run(ctx, chosen))
}

// finish writes what was measured, even where an error or Ctrl-C ended the measurement early.
func (b *bench) finish(stdout io.Writer, err error) error {
	if err != nil && !b.report.tells() {
		return err
	}
	return errors.Join(b.write(stdout), err)
}

// write writes the report to where it was asked for.
func (b *bench) write(stdout io.Writer) error {
	tables := b.report.markdown()
	if _, err := io.WriteString(stdout, tables); err != nil {
		return err
	}
	if b.plan.markdown != "" {
		if err := os.WriteFile(b.plan.markdown, []byte(tables), 0o644); err != nil {
			return err
		}
	}
	if b.plan.json == "" {
		return nil
	}
	text, err := json.MarshalIndent(b.report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.plan.json, append(text, '\n'), 0o644)
}
