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
for new connections. To replace a key without a warning at any visitor:

  foyer hostkey rotate ed25519   makes the next key, which visitors only learn
  foyer hostkey promote          uses it, when most visitors have connected again
  foyer hostkey retire           removes the old key, when they have done so again

Visitors learn keys with OpenSSH's UpdateHostKeys, which is on by default, and from the
records and lines of foyer hostkey list. A certificate (KEY-cert.pub) is replaced with its
key: sign the next key (KEY.next) before you promote it.`,
		Args: arguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&cfg.HostKeys, "hostkeys", "hostkeys", "directory of the host keys")
	cmd.AddCommand(hostkeyList(cfg), hostkeyAdd(cfg), hostkeyRotate(cfg), hostkeyPromote(cfg), hostkeyRetire(cfg))
	return cmd
}

func hostkeyList(cfg *Config) *cobra.Command {
	var sshfp, knownHosts bool
	cmd := &cobra.Command{
		Use:     "list [NAME]",
		Short:   "List the host keys with their fingerprints, states and ages",
		Example: "foyer hostkey list --sshfp ssh.example.com\nfoyer hostkey list --known-hosts ssh.example.com:2022",
		Args: func(_ *cobra.Command, args []string) error {
			switch named := sshfp || knownHosts; {
			case len(args) > 1 || len(args) == 1 && !named:
				return cli.Usage(errors.New("foyer hostkey list takes one NAME, with --sshfp or --known-hosts"))
			case len(args) == 0 && knownHosts:
				return cli.Usage(errors.New("--known-hosts requires the NAME by which visitors connect"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := hostkeys.Load(cfg.HostKeys)
			if err != nil {
				return err
			}
			name := append(args, "@")[0] // the origin of the zone
			switch w := cmd.OutOrStdout(); {
			case sshfp:
				return printEach(w, keys, func(key hostkeys.Key) string { return key.SSHFP(name) })
			case knownHosts:
				return printEach(w, keys, func(key hostkeys.Key) string {
					return knownhosts.Line([]string{name}, key.Signer.PublicKey())
				})
			default:
				return printKeys(w, keys)
			}
		},
	}
	cmd.Flags().BoolVar(&sshfp, "sshfp", false, "print SSHFP records for the zone file of DNS, with the owner NAME or @")
	cmd.Flags().BoolVar(&knownHosts, "known-hosts", false, "print lines for known_hosts; NAME is host or host:port")
	cmd.MarkFlagsMutuallyExclusive("sshfp", "known-hosts")
	return cmd
}

func printEach(w io.Writer, keys []hostkeys.Key, line func(hostkeys.Key) string) error {
	for _, key := range keys {
		if _, err := fmt.Fprintln(w, line(key)); err != nil {
			return err
		}
	}
	return nil
}

func printKeys(w io.Writer, keys []hostkeys.Key) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, key := range keys {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\n", key.Type(), key.Bits(), key.Fingerprint(), key.State, age(key.Path), key.Path)
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

// keyType checks the argument TYPE, which may be optional.
func keyType(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	if !slices.Contains(keyTypes, args[0]) {
		return "", cli.Usage(fmt.Errorf("unknown host key type %q: use one of %s", args[0], strings.Join(keyTypes, ", ")))
	}
	return args[0], nil
}

func hostkeyAdd(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:       "add TYPE",
		Short:     "Create a host key of another type: ed25519, rsa or ecdsa",
		ValidArgs: keyTypes,
		Args:      arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			return create(cmd, args, cfg.HostKeys, hostkeys.Create, "foyer uses it for new connections")
		},
	}
}

func hostkeyRotate(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:       "rotate TYPE",
		Short:     "Create the next host key of a type, which visitors learn and foyer does not use yet",
		ValidArgs: keyTypes,
		Args:      arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			return create(cmd, args, cfg.HostKeys, hostkeys.Rotate, "foyer announces it, and uses it after: foyer hostkey promote")
		},
	}
}

func create(cmd *cobra.Command, args []string, dir string, make func(dir, keyType string) (hostkeys.Key, error), then string) error {
	keyType, err := keyType(args)
	if err != nil {
		return err
	}
	key, err := make(dir, keyType)
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s in %s; %s\n", key.Type(), key.Fingerprint(), key.Path, then)
	}
	return err
}

func hostkeyPromote(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:   "promote [TYPE]",
		Short: "Use the next host key, and keep announcing the one in use as the previous one",
		Long: "Use the next host key, of one type or of each, and keep announcing the one in use as the previous\n" +
			"one, so that visitors who know only that learn the new one with --sshfp, a certificate or a line in\n" +
			"known_hosts, or are warned. Its certificate is put aside (KEY.previous-cert.pub).",
		ValidArgs: keyTypes,
		Args:      cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return move(cmd, args, cfg.HostKeys, hostkeys.Promote, "is used for new connections; end with: foyer hostkey retire")
		},
	}
}

func hostkeyRetire(cfg *Config) *cobra.Command {
	return &cobra.Command{
		Use:       "retire [TYPE]",
		Short:     "Remove the previous host key, so that visitors forget it",
		ValidArgs: keyTypes,
		Args:      cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return move(cmd, args, cfg.HostKeys, hostkeys.Retire, "is removed")
		},
	}
}

func move(cmd *cobra.Command, args []string, dir string, change func(dir, keyType string) ([]hostkeys.Key, error), done string) error {
	keyType, err := keyType(args)
	if err != nil {
		return err
	}
	keys, err := change(dir, keyType)
	for _, key := range keys {
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s\n", key.Type(), key.Fingerprint(), done)
	}
	return err
}
