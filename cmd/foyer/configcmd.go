package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"foyer/cmd/cli"
)

// configCommand returns the command that prints settings.
func configCommand(cfg *Config) *cobra.Command {
	var example, schema bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the settings in force, and where each has its value from",
		Long: "Print the settings that these flags, the environment and the file result in, as a valid file. Each has\n" +
			"a comment that says where its value is from.",
		Example: "foyer config\nfoyer config --example > foyer.toml\nfoyer config --schema > foyer.schema.json",
		Args:    arguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case example:
				newConfig().settings.Example(cmd.OutOrStdout())
				return nil
			case schema:
				return newConfig().settings.Schema(cmd.OutOrStdout(), "the settings of foyer")
			}
			if err := errors.Join(cfg.load(cmd.Flags(), os.Getenv)...); err != nil {
				return err
			}
			cfg.settings.Print(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.Flags().BoolVar(&example, "example", false, "print a file that explains each setting")
	cmd.Flags().BoolVar(&schema, "schema", false, "print a JSON Schema, with which editors complete and check the file")
	cmd.MarkFlagsMutuallyExclusive("example", "schema")
	cfg.settings.AddFlags(cmd.Flags())
	return cmd
}

// settingsTopic is what "foyer help settings" prints.
func settingsTopic(root *cobra.Command) *cobra.Command {
	topic := &cobra.Command{
		Use:   "settings",
		Short: "All settings",
		Long: "Each setting is a flag, an environment variable and a key of foyer.toml: --log-level is FOYER_LOG_LEVEL, and\n" +
			"log-level in the table [log]. The flag wins over the variable, the variable over the file. On SIGHUP a running\n" +
			"server reads the file again. foyer config --example prints a file with all settings.",
	}
	topic.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		w := cmd.OutOrStdout()
		_, _ = w.Write([]byte(topic.Long + "\n"))
		cli.PrintFlags(w, root)
	})
	return topic
}
