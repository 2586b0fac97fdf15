//go:build !windows

// Peers is the bench: it starts foyer and other SSH servers, has knock compare them, and prints what a login costs
// each. Run it from the top of the source tree:
//
//	go run ./cmd/knock/peers                # all servers that are installed; takes some minutes
//	go run ./cmd/knock/peers --quick        # a first look
//	go run ./cmd/knock/peers --bench        # Go benchmark lines, for benchstat
//
// Everything is on loopback and in a temporary directory. Nothing is left behind.
package main

import (
	"context"
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
	// SIGPIPE too: if the reader of the output is gone, the servers and the secrets must still be removed.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	only         []string
	quick, bench bool
	rounds       int
	window       time.Duration
	concurrency  int
	held         int
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := pflag.NewFlagSet("peers", pflag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		_, _ = fmt.Fprintf(stderr, "peers [FLAGS], from the top of the source tree. The peers are %s.\n\n%s",
			strings.Join(names(peers), ", "), fs.FlagUsages())
	}
	fs.StringSliceVar(&o.only, "only", nil, "peers to compare with foyer (default: all that are installed)")
	fs.BoolVar(&o.quick, "quick", false, "3 rounds of 500ms, and no memory")
	fs.BoolVar(&o.bench, "bench", false, "print Go benchmark lines instead of the table, for benchstat")
	fs.IntVar(&o.rounds, "rounds", 15, "rounds to measure")
	fs.DurationVar(&o.window, "window", time.Second, "how long to measure each server in a round")
	fs.IntVarP(&o.concurrency, "concurrency", "c", 8, "logins at a time")
	fs.IntVar(&o.held, "held", 200, "connections to hold, to measure their memory; 0 for none")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 || min(o.rounds, o.concurrency) < 1 || o.window <= 0 || o.held < 0 {
		return nil, errors.New("rounds, window and concurrency must be positive, and there are no arguments")
	}
	if o.quick {
		o.rounds, o.window, o.held = 3, 500*time.Millisecond, 0
	}
	return o, nil
}

// run makes the measurement that args ask for.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	return b.run(ctx, chosen, stdout)
}
