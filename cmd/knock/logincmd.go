package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"foyer/cmd/cli"
	"foyer/cmd/knock/report"
)

// loginCommand measures whole logins. It is the root command.
func loginCommand() *cobra.Command {
	var (
		s   = newSettings()
		l   load
		out output
	)
	cmd := &cobra.Command{
		Use:   "knock USER@HOST:PORT",
		Short: "Measure the logins of an SSH server",
		Args:  arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := l.complete(s); err != nil {
				return err
			}
			if l.rate > 0 && !cmd.Flags().Changed("concurrency") {
				l.concurrency = 1000 // so many are in progress only if the server is far behind
			}
			return runMeasurement(cmd, s, out, args[0],
				func(ctx context.Context, srv *server, r *record) (*report.Measurement, error) {
					return measureLogins(ctx, srv, l, r)
				})
		},
	}
	fs := cmd.Flags()
	l.addFlags(fs)
	s.addFlags(fs)
	out.addFlags(fs)
	return cmd
}

func (l *load) addFlags(fs *pflag.FlagSet) {
	fs.DurationVarP(&l.duration, "duration", "d", 0, "how long to start logins (default 10s, or until --count)")
	fs.Lookup("duration").DefValue = "" // the help would say 0s
	fs.Int64VarP(&l.count, "count", "n", 0, "how many logins to make")
	fs.Float64Var(&l.rate, "rate", 0, "start so many logins a second, whatever the server does (an open loop)")
}

// complete checks the flags and sets the defaults.
func (l *load) complete(s *settings) error {
	if l.duration < 0 || l.count < 0 || l.rate != 0 && !(l.rate >= 0.01 && l.rate <= 1e6) { // also refuses NaN
		return cli.Misuse("omit a flag, or give a positive value", "duration %s, count %d, rate %g",
			l.duration, l.count, l.rate)
	}
	if l.duration == 0 && l.count == 0 {
		l.duration = 10 * time.Second
	}
	l.concurrency = s.concurrency
	return nil
}
