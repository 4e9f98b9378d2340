package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central"
	"github.com/pureboot/pureboot/central/wire"
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
	for _, c := range cmd.Commands() {
		if c.HasSubCommands() {
			only(c)
		}
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nsee %s --help", err, cmd.CommandPath())
	})
	usage(cmd)
	return cmd
}

// usage has a command that is given too much or too little say what it wants.
func usage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err != nil && cmd.HasSubCommands() {
				err = fmt.Errorf("%w\nsee %s --help", err, cmd.CommandPath())
			} else if err != nil {
				err = fmt.Errorf("%w\nusage: %s", err, cmd.UseLine())
			}
			return err
		}
	}
	for _, below := range cmd.Commands() {
		usage(below)
	}
}

// only makes a command that is there for those below it fail when it is given what none of them is: left to itself cobra
// prints the help then and succeeds, and a script would go on.
func only(cmd *cobra.Command) {
	cmd.Args, cmd.DisableFlagsInUseLine = cobra.NoArgs, true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
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

// format is how an answer is written, text or json.
type format string

// Set implements pflag.Value: what is neither is refused before anything is done.
func (f *format) Set(value string) error {
	if value != "text" && value != "json" {
		return errors.New("want text or json")
	}
	*f = format(value)
	return nil
}

func (f *format) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *format) Type() string { return "string" }

// output adds -o to a command.
func output(cmd *cobra.Command) *format {
	f := format("text")
	cmd.Flags().VarP(&f, "output", "o", "text or json")
	offer(cmd, "output", "text", "json")
	return &f
}

// print writes v as JSON if that was asked for, else as text says.
func print(cmd *cobra.Command, as format, v any, text func() error) error {
	if as == "json" {
		out := json.NewEncoder(cmd.OutOrStdout())
		out.SetIndent("", "  ")
		return out.Encode(v)
	}
	return text()
}

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program and of the protocol it speaks with agents",
		Args:  cobra.NoArgs,
	}
	format := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := struct {
			Version  string `json:"version"`
			Protocol int    `json:"protocol_version"`
		}{version, wire.ProtocolVersion}
		return print(cmd, *format, v, func() error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "pureboot-central %s, protocol %d\n", v.Version, v.Protocol)
			return err
		})
	}
	return cmd
}
