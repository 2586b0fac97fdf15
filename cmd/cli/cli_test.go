package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
)

func TestRun(t *testing.T) {
	odd := errors.New("it is odd")
	for name, tt := range map[string]struct {
		err    error
		args   []string
		status int
		told   string
	}{
		"nothing":        {nil, nil, 0, ""},
		"an error":       {odd, nil, 1, "error: it is odd\n"},
		"a hint":         {cli.With(odd, "make it even"), nil, 1, "error: it is odd\nhint: make it even\n"},
		"a hint deep in": {fmt.Errorf("number 7: %w", cli.With(odd, "make it even")), nil, 1, "error: number 7: it is odd\nhint: make it even\n"},
		"several":        {errors.Join(odd, cli.With(odd, "make it even")), nil, 1, "error: it is odd\nerror: it is odd\nhint: make it even\n"},
		"two causes":     {fmt.Errorf("%w: %w", odd, odd), nil, 1, "error: it is odd: it is odd\n"},
		"usage":          {cli.Usage(odd), nil, 2, "error: it is odd\nhint: run: door --help\n"},
		"usage, a hint":  {cli.Usage(cli.With(odd, "make it even")), nil, 2, "error: it is odd\nhint: make it even\n"},
		"misuse":         {cli.Misuse("make it even", "%d: %w", 7, odd), nil, 2, "error: 7: it is odd\nhint: make it even\n"},
		"an odd flag":    {nil, []string{"--odd"}, 2, "error: unknown flag: --odd\nhint: run: door --help\n"},
		"no number":      {nil, []string{"--keys", "x"}, 2, "error: --keys: \"x\" is not a number or is too large\nhint: run: door --help\n"},
		"no float":       {nil, []string{"--rate=1e999"}, 2, "error: --rate: \"1e999\" is not a number or is too large\nhint: run: door --help\n"},
		"no time":        {nil, []string{"--wait", "30"}, 2, "error: --wait: \"30\" is not a duration like 30s or 5m\nhint: run: door --help\n"},
		"no choice":      {nil, []string{"--open=maybe"}, 2, "error: --open: \"maybe\" is not true or false\nhint: run: door --help\n"},
		"no network":     {nil, []string{"--from", "x"}, 2, "error: --from: invalid CIDR address: x\nhint: run: door --help\n"},
		"one further in": {nil, []string{"key", "add", "--odd"}, 2, "error: unknown flag: --odd\nhint: run: door key add --help\n"},
		"no topic":       {nil, []string{"help", "lock"}, 2, "error: unknown command \"lock\"\nhint: run: door --help\n"},
		"none there":     {nil, []string{"help", "key", "turn"}, 2, "error: unknown command \"key turn\"\nhint: run: door --help\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var told bytes.Buffer
			root := &cobra.Command{Use: "door", RunE: func(*cobra.Command, []string) error { return tt.err }}
			root.Flags().Int("keys", 0, "")
			root.Flags().Float64("rate", 0, "")
			root.Flags().Duration("wait", 0, "")
			root.Flags().Bool("open", false, "")
			root.Flags().IPNet("from", net.IPNet{}, "")
			key := &cobra.Command{Use: "key"}
			key.AddCommand(&cobra.Command{Use: "add", Run: func(*cobra.Command, []string) {}})
			root.AddCommand(key)
			root.SetArgs(append([]string{}, tt.args...))
			root.SetOut(&told)
			root.SetErr(&told)
			if status := cli.Run(t.Context(), root); status != tt.status || told.String() != tt.told {
				t.Errorf("status %d, told %q; want %d, %q", status, &told, tt.status, tt.told)
			}
		})
	}
	if err := cli.Usage(cli.With(odd, "")); !errors.Is(err, odd) || !cli.IsUsage(err) || cli.IsUsage(odd) {
		t.Error("what an error is, is lost")
	}
}
