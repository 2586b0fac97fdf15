package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
	"foyer/hostkeys"
)

func hostkeyCommand(cfg *Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hostkey",
		Short: "Manage the host keys, which identify this server",
		Args:  arguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cfg.settings.AddFlags(cmd.PersistentFlags(), "hostkeys")
	cmd.AddCommand(hostkeyList(cfg), hostkeyAdd(cfg))
	for _, sub := range cmd.Commands() {
		sub.RunE = cfg.loaded(sub.RunE)
	}
	return cmd
}

func hostkeyList(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the host keys with their fingerprints",
		Args:  arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := hostkeys.Load(cfg.HostKeys)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			for _, key := range keys {
				fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", key.Type(), key.Bits(), key.Fingerprint(), key.Path)
			}
			return table.Flush()
		},
	}
}

func hostkeyAdd(cfg *Config) *cobra.Command {
	types := []string{"ed25519", "rsa", "ecdsa"}
	return &cobra.Command{
		Use:       "add TYPE",
		Short:     "Create a host key of another type: ed25519, rsa or ecdsa",
		ValidArgs: types,
		Args:      arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(types, args[0]) {
				return cli.Usage(fmt.Errorf("unknown host key type %q: use one of %s", args[0], strings.Join(types, ", ")))
			}
			key, err := hostkeys.Create(cfg.HostKeys, args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s in %s; foyer uses it after its next start\n", key.Type(), key.Fingerprint(), key.Path)
			return nil
		},
	}
}
