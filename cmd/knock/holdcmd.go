package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
	"foyer/cmd/knock/report"
)

func holdCommand() *cobra.Command {
	return newHoldCommand(&cobra.Command{
		Use:   "hold N USER@HOST:PORT",
		Short: "Hold N idle connections and see what they cost",
		Long: `hold opens N connections that authenticate and then do nothing. With --pid it reports how much memory the
server needs for each. It exits 0 only if all were opened and the server closed none.`,
	}, connectIdle)
}

func preauthCommand() *cobra.Command {
	return newHoldCommand(&cobra.Command{
		Use:   "preauth N USER@HOST:PORT",
		Short: "Hold N connections that send nothing",
		Long: `preauth opens N connections and sends nothing on them. With --pid it reports how much memory the server needs
for each. It exits 0 only if all were opened and the server closed none. A server should close such connections after a
while; to see it do so, make --for longer than its timeout.`,
	}, connectSilent)
}

func newHoldCommand(cmd *cobra.Command, connect connector) *cobra.Command {
	var (
		s    = newSettings()
		out  output
		keep time.Duration
	)
	s.noAuth = cmd.Name() == "preauth"
	cmd.Args = arguments(2, 2)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		number, err := strconv.ParseInt(args[0], 10, 32)
		if err != nil || number < 1 || keep < 0 {
			return cli.Misuse("give positive values, as in: "+cmd.CommandPath()+" 1000 guest@localhost:2022",
				"%q connections for %s", args[0], keep)
		}
		return runMeasurement(cmd, s, out, args[1],
			func(ctx context.Context, srv *server, r *record) (*report.Measurement, error) {
				h := &holding{server: srv, record: r, connect: connect}
				m, err := h.run(ctx, number, keep)
				if m != nil {
					m.Mode = cmd.Name()
				}
				return m, err
			})
	}
	fs := cmd.Flags()
	fs.DurationVar(&keep, "for", 10*time.Second, "how long to keep them once all are open")
	s.addFlags(fs)
	out.addFlags(fs)
	return cmd
}
