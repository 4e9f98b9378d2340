package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

// version is set by the linker.
var version = "devel"

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "pureboot-agent",
		Short:         "Boot the machines of one site",
		Long:          "pureboot-agent is the appliance of one site: its machines boot from it, by TFTP and HTTP,\nand go on doing so while central cannot be reached.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.PersistentFlags().String("config", "", "configuration file (default "+agent.DefaultConfigFile+", if there is one)")
	cmd.AddCommand(initCommand(), startCommand(), statusCommand(), traceCommand(), syncCommand(), cacheCommand(), tokenCommand(),
		versionCommand())
	cli.Strict(cmd)
	return cmd
}

// config loads and checks the file that --config names.
func config(cmd *cobra.Command) (agent.Config, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return agent.Config{}, err
	}
	cfg, err := agent.Load(file)
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
		Short: "Print the version of the program and of the protocol it speaks",
		Args:  cobra.NoArgs,
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := struct {
			Version  string `json:"version"`
			Protocol int    `json:"protocol_version"`
		}{version, wire.ProtocolVersion}
		return cli.Print(cmd, *format, v, func() error {
			fmt.Fprintf(cmd.OutOrStdout(), "pureboot-agent %s, protocol %d\n", v.Version, v.Protocol)
			return nil
		})
	}
	return cmd
}
