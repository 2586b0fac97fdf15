package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh/knownhosts"

	"foyer/cmd/cli"
	"foyer/hostkeys"
)

var keyTypes = []string{"ed25519", "rsa", "ecdsa"}

func hostkeyCommand(cfg *Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hostkey",
		Short: "Manage the host keys, which identify this server",
		Long: `Manage the host keys, which identify this server. A running server uses changed keys
for new connections. To replace a key without a warning at those who visit meanwhile:

  foyer hostkey rotate ed25519   makes the next key, which visitors only learn
  foyer hostkey promote          uses it, when most visitors have connected again
  foyer hostkey retire           removes the old key, which visitors then forget

Visitors learn keys with OpenSSH's UpdateHostKeys, which is on by default, or from what
foyer hostkey list prints. Others are warned after promote. A certificate (KEY-cert.pub)
goes with its key: sign KEY.next before promote.`,
		Args: arguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cfg.settings.AddFlags(cmd.PersistentFlags(), "hostkeys")
	cmd.AddCommand(
		hostkeyList(cfg),
		hostkeyChange(cfg, "add TYPE", "Create a host key of another type: ed25519, rsa or ecdsa",
			"; foyer uses it for new connections", addHostKey),
		hostkeyChange(cfg, "rotate TYPE", "Create the next host key of a type, which visitors learn and foyer does not use yet",
			"; foyer announces it, and uses it after: foyer hostkey promote", hostkeys.Rotate),
		hostkeyChange(cfg, "promote [TYPE]", "Use the next host key, and announce the old one too, so that visitors keep it",
			" is used for new connections; end with: foyer hostkey retire", hostkeys.Promote),
		hostkeyChange(cfg, "retire [TYPE]", "Remove the previous host key, so that visitors forget it",
			" is removed", hostkeys.Retire),
	)
	for _, sub := range cmd.Commands() {
		sub.RunE = cfg.loaded(sub.RunE)
	}
	return cmd
}

func hostkeyList(cfg *Config) *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use:     "list [NAME]",
		Short:   "List the host keys with their fingerprints, states and ages",
		Example: "foyer hostkey list --sshfp ssh.example.com\nfoyer hostkey list --known-hosts ssh.example.com:2022",
		Args:    l.arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := hostkeys.Load(cfg.HostKeys)
			if err != nil {
				return err
			}
			return l.print(cmd.OutOrStdout(), keys, append(args, "@")[0]) // the origin of the zone
		},
	}
	cmd.Flags().BoolVar(&l.sshfp, "sshfp", false, "print SSHFP records for the zone file of DNS, with the owner NAME or @")
	cmd.Flags().BoolVar(&l.knownHosts, "known-hosts", false, "print lines for known_hosts; NAME is host or host:port")
	cmd.MarkFlagsMutuallyExclusive("sshfp", "known-hosts")
	return cmd
}

// listing is how the host keys are listed.
type listing struct{ sshfp, knownHosts bool }

func (l *listing) arguments(_ *cobra.Command, args []string) error {
	switch named := l.sshfp || l.knownHosts; {
	case len(args) > 1 || len(args) == 1 && !named:
		return cli.Usage(errors.New("foyer hostkey list takes one NAME, with --sshfp or --known-hosts"))
	case len(args) == 0 && l.knownHosts:
		return cli.Usage(errors.New("--known-hosts requires the NAME by which visitors connect"))
	}
	return nil
}

func (l *listing) print(w io.Writer, keys []hostkeys.Key, name string) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, key := range keys {
		switch {
		case l.sshfp:
			fmt.Fprintln(table, key.SSHFP(name))
		case l.knownHosts:
			fmt.Fprintln(table, knownhosts.Line([]string{name}, key.Signer.PublicKey()))
		default:
			fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\n", key.Type(), key.Bits(), key.Fingerprint(), key.State, age(key.Path), key.Path)
		}
	}
	return table.Flush()
}

// age returns for how many days the file has not been modified. A key's file never is.
func age(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "?"
	}
	return plural(max(0, int(time.Since(info.ModTime())/(24*time.Hour))), "day")
}

// hostkeyChange returns a command that changes host keys of one type, or of each where TYPE is optional.
func hostkeyChange(cfg *Config, use, short, done string, change func(dir, keyType string) ([]hostkeys.Key, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use:       use,
		Short:     short,
		ValidArgs: keyTypes,
		Args:      arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			keyType := append(args, "")[0]
			if keyType != "" && !slices.Contains(keyTypes, keyType) {
				return cli.Usage(fmt.Errorf("unknown host key type %q: use one of %s", keyType, strings.Join(keyTypes, ", ")))
			}
			keys, err := change(cfg.HostKeys, keyType)
			for _, key := range keys {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s in %s%s\n", key.Type(), key.Fingerprint(), key.Path, done)
			}
			return err
		},
	}
	if strings.HasSuffix(use, "]") {
		cmd.Args = cobra.MaximumNArgs(1)
	}
	return cmd
}

func addHostKey(dir, keyType string) ([]hostkeys.Key, error) {
	key, err := hostkeys.Create(dir, keyType)
	if err != nil {
		return nil, err
	}
	return []hostkeys.Key{key}, nil
}
