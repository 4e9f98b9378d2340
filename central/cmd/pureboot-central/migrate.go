package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/cli"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Look after the database's schema",
		Long:  "serve migrates the database by itself as it starts. This is for who wants to look first.",
	}
	cmd.AddCommand(migrateStatusCommand(), migrateUpCommand(), migrateRestoredCommand())
	return cmd
}

// options says where the database of the configuration is, for a command beside a central that serves.
func options(cmd *cobra.Command) (store.Options, error) {
	cfg, err := config(cmd)
	return store.Options{DSN: cfg.Database, Dir: cfg.DataDir, Log: logger(), Shared: true}, err
}

func migrateStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "List the migrations and whether the database has taken them",
		Args:  cobra.NoArgs,
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := options(cmd)
		if err != nil {
			return err
		}
		list, err := store.Migrations(cmd.Context(), o)
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, list, func() error {
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "VERSION\tNAME\tAPPLIED")
			for _, m := range list {
				applied := "no"
				if m.AppliedAt != nil {
					applied = m.AppliedAt.Format(time.RFC3339)
				}
				fmt.Fprintf(table, "%d\t%s\t%s\n", m.Version, m.Name, applied)
			}
			return table.Flush()
		})
	}
	return cmd
}

func migrateUpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Migrate the database to this build; no central may be serving from it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := options(cmd)
			if err != nil {
				return err
			}
			st, err := store.Open(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := st.Close(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the database is up to date")
			return err
		},
	}
}

func migrateRestoredCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restored",
		Short: "Say that the database was restored from a copy that central did not make",
		Long: "A copy made by pureboot-central backup, and PostgreSQL on another server, under another name or with another\n" +
			"timeline, are noticed at start. After any other restore the agents may know more than central does; this\n" +
			"makes them ask for everything again.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := options(cmd)
			if err != nil {
				return err
			}
			if err := store.Restored(cmd.Context(), o); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "the agents will ask for everything again")
			return err
		},
	}
}
