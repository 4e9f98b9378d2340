package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

// version is set by the linker.
var version = "devel"

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pureboot-central",
		Short: "Provision the machines of many sites from one place",
		Long: "pureboot-central is the single source of truth of all sites: it knows their machines and how they are\n" +
			"installed, keeps what they boot, and serves administrators and agents over HTTPS.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.PersistentFlags().String("config", "", "configuration file (default "+central.DefaultConfigFile+", if there is one)")
	cmd.AddCommand(serveCommand(), initCommand(), migrateCommand(), backupCommand(), contentCommand(), siteCommand(), nodeCommand(), conflictCommand(), migrationCommand(), tokenCommand(), versionCommand())
	cli.Strict(cmd)
	return cmd
}

// config loads and checks the file that --config names.
func config(cmd *cobra.Command) (central.Config, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return central.Config{}, err
	}
	cfg, err := central.Load(file, os.Environ())
	if err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}

// logger writes to the standard error, which systemd gives to the journal.
func logger() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program and of the protocol it speaks with agents",
		Args:  cobra.NoArgs,
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := struct {
			Version  string `json:"version"`
			Protocol int    `json:"protocol_version"`
		}{version, wire.ProtocolVersion}
		return cli.Print(cmd, *format, v, func() error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "pureboot-central %s, protocol %d\n", v.Version, v.Protocol)
			return err
		})
	}
	return cmd
}
