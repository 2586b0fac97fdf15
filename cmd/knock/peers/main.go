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
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

func main() {
	// SIGPIPE among them: whoever stops reading must not leave servers and secrets behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
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
	rest     time.Duration
	markdown string
	json     string
}

// parse reads the command line. The word quick makes defaults small, and a flag wins over it.
func parse(args []string, stderr io.Writer) (*plan, error) {
	p := &plan{}
	fs := pflag.NewFlagSet("peers", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		_, _ = fmt.Fprintf(stderr, "peers [quick] [FLAGS], from the top of the tree. The peers are %s.\n\n%s",
			strings.Join(peerNames(), ", "), fs.FlagUsages())
	}
	fs.StringSliceVar(&p.only, "only", nil, "the peers to measure foyer against (default: all that are installed)")
	fs.IntVar(&p.rounds, "rounds", 15, "how often every door has its turn (quick: 3)")
	fs.DurationVar(&p.window, "window", time.Second, "how long a turn is (quick: 500ms)")
	fs.IntVarP(&p.visitors, "concurrency", "c", 8, "visitors at a time")
	fs.IntVar(&p.held, "held", 200, "connections to hold, for the memory (quick: 50)")
	fs.IntVar(&p.starts, "starts", 7, "how often every door is started, for how long it takes (quick: 2)")
	fs.DurationVar(&p.rest, "rest", 3*time.Second, "how long a door is left alone before its memory is looked at (quick: 500ms)")
	fs.StringVar(&p.markdown, "markdown", "", "file for the tables, besides stdout")
	fs.StringVar(&p.json, "json", "", "file for all figures, of every round")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	for _, word := range fs.Args() {
		switch word {
		case "quick":
			p.shrink(fs)
		default:
			return nil, fmt.Errorf("there is nothing called %q: quick is a word, all else are flags", word)
		}
	}
	if min(p.rounds, p.visitors, p.held) < 1 || p.starts < 2 || min(p.window, p.rest) <= 0 {
		return nil, errors.New("rounds, visitors, windows and rests are more than 0, and starts more than 1")
	}
	return p, nil
}

func (p *plan) shrink(fs *pflag.FlagSet) {
	for _, quick := range []struct{ flag, value string }{
		{"rounds", "3"}, {"window", "500ms"}, {"held", "50"}, {"starts", "2"}, {"rest", "500ms"},
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
	for _, path := range []string{p.markdown, p.json} {
		if err := probe(path); err != nil {
			return err
		}
	}
	h, err := newHouse()
	if err != nil {
		return err
	}
	defer func() { _ = h.remove() }()
	b := newBench(p, h, stderr)
	defer b.close()
	err = b.run(ctx, chosen)
	if err != nil && ctx.Err() != nil {
		err = errInterrupted
	}
	return b.finish(stdout, err)
}

// errInterrupted is why a measurement ended that was told to; what broke by that is of no interest.
var errInterrupted = errors.New("interrupted")

// probe sees before the measurement that what it finds can be written.
func probe(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
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
	tables := []byte(b.report.markdown())
	figures, err := json.MarshalIndent(b.report, "", "  ")
	if err != nil {
		return err
	}
	_, err = stdout.Write(tables)
	return errors.Join(err, save(b.plan.markdown, tables), save(b.plan.json, append(figures, '\n')))
}

// save writes a file, if it has a name.
func save(path string, text []byte) error {
	if path == "" {
		return nil
	}
	return os.WriteFile(path, text, 0o644)
}
