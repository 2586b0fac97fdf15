//go:build !windows

// Fleet starts three foyers that share penalties in a redis-server, with HAProxy in front, on loopback, and shows what they
// do: how logins spread, that one command closes all of them, that all of them refuse whom one blocks, and that nobody notices
// when the engine is lost or the servers are restarted.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run shows everything, and ends what it has started.
func run(ctx context.Context, w io.Writer) (err error) {
	f := &fleet{w: w}
	defer func() {
		if closed := f.close(); err == nil {
			err = closed
		}
	}()
	for _, step := range []func(context.Context) error{
		f.prepare, f.startEngine, f.startServers, f.startBalancer, f.maintain, f.startLoad, f.spread, f.ban, f.loseEngine, f.restart, f.stopLoad,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}
