package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"foyer/cmd/cli"
	"foyer/cmd/knock/report"
)

// compareFlags are the flags of compare.
type compareFlags struct {
	*settings
	output
	rounds int
	window time.Duration
}

func compareCommand() *cobra.Command {
	f := &compareFlags{settings: newSettings()}
	cmd := &cobra.Command{
		Use:   "compare SERVER SERVER [SERVER...]",
		Short: "Compare what a login costs several servers",
		Long: `compare measures running servers in turn, in many rounds of short windows, and prints the ratio of each server
to the first one, round by round: on a busy machine the ratios are more reliable than the figures. To see how reliable,
give the same server twice. compare starts no server.

A SERVER is NAME=USER@HOST[:PORT], followed by settings of its own, with commas between them. They are the flags below
without their dashes, such as pid=PID, key=FILE, password-file=FILE, open=true or concurrency=N. A flag is for all
servers that do not have the setting. A server with a key or a password of its own ignores --key, --password-file and
--open.`,
		Example: `knock compare a=guest@localhost:2022,pid=123 b=guest@localhost:2222,pid=456 --key id_ed25519
knock compare a=guest@localhost:2022,pid=123 a2=guest@localhost:2022,pid=123 --bench`,
		Args: arguments(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fs := cmd.Flags()
	fs.IntVar(&f.rounds, "rounds", 15, "how many rounds to measure, after one for warming up")
	fs.DurationVar(&f.window, "window", time.Second, "how long to measure each server in a round")
	f.settings.addFlags(fs)
	f.output.addFlags(fs)
	return cmd
}

func (f *compareFlags) run(cmd *cobra.Command, args []string) error {
	if f.rounds < 1 || f.window <= 0 {
		return cli.Misuse("give positive values", "%d rounds, window %s", f.rounds, f.window)
	}
	servers, err := f.servers(cmd.Context(), args)
	if err != nil {
		return err
	}
	c := newComparison(servers, f.concurrency, f.rounds, f.window)
	err = runInteractive(cmd, func() string { return c.status.Load().(string) }, c.run)
	if err != nil && c.report.Rounds == 0 {
		return err
	}
	return cmp.Or(f.print(cmd.OutOrStdout(), c.report), err, compareVerdict(c.report))
}

func compareVerdict(r *report.Compare) error {
	switch {
	case r.Rounds == 0:
		return errNothing
	case slices.ContainsFunc(r.Servers, func(s report.Compared) bool { return s.Failed > 0 }):
		return errFailed
	}
	return nil
}

// servers prepares all servers. It asks for a password only once.
func (f *compareFlags) servers(ctx context.Context, args []string) (servers []*server, err error) {
	ask := sync.OnceValues(func() (string, error) { return promptForPassword("all servers") })
	f.prompt = func(string) (string, error) { return ask() }
	for _, arg := range args {
		srv, err := f.server(ctx, arg)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(servers, func(other *server) bool { return other.name == srv.name }) {
			return nil, cli.Misuse("give them different names", "two servers have the name %s", srv.name)
		}
		servers = append(servers, srv)
	}
	return servers, nil
}

const serverHint = "write NAME=USER@HOST:PORT,pid=PID; run: knock compare --help"

// server prepares one server with the settings of its own.
func (f *compareFlags) server(ctx context.Context, arg string) (*server, error) {
	name, rest, found := strings.Cut(arg, "=")
	if !found || strings.Contains(name, "@") {
		return nil, cli.Misuse(serverHint, "server %q has no name", arg)
	}
	parts := strings.Split(rest, ",")
	s := *f.settings
	if slices.ContainsFunc(parts[1:], isCredential) {
		s.key, s.passwordFile, s.noAuth = "", "", false
	}
	if err := s.setOwn(name, parts[1:]); err != nil {
		return nil, cli.Misuse(serverHint, "server %s: %w", name, err)
	}
	srv, err := s.open(ctx, parts[0])
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", name, err)
	}
	srv.name = name
	return srv, nil
}

func isCredential(setting string) bool {
	return strings.HasPrefix(setting, "key=") || strings.HasPrefix(setting, "password-file=")
}

// setOwn applies name=value settings. They are the flags of a single server.
func (s *settings) setOwn(server string, own []string) error {
	fs := pflag.NewFlagSet(server, pflag.ContinueOnError)
	s.addFlags(fs)
	for _, setting := range own {
		name, value, found := strings.Cut(setting, "=")
		switch {
		case !found || value == "":
			return fmt.Errorf("%q is not name=value", setting)
		case fs.Lookup(name) == nil:
			return fmt.Errorf("unknown setting %q", name)
		}
		if err := fs.Set(name, value); err != nil {
			return fmt.Errorf("%s: %w", name, cli.Unfit(err))
		}
	}
	return nil
}
