package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
)

func backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the SQLite database to a file, while central serves or not",
		Long: "The copy is of one moment and its owner's alone. It holds no boot files: they are in the content folder, whose\n" +
			"files never change once they are there and may be copied after the database. A copy that becomes the database\n" +
			"is known to be one, and the agents then ask for everything again. PostgreSQL is backed up by pg_dump.",
		Example: "  pureboot-central backup /var/backups/pureboot-$(date +%F).db",
		Args:    cobra.ExactArgs(1),
	}
	force := cmd.Flags().Bool("force", false, "replace FILE if it is there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := options(cmd)
		if err != nil {
			return err
		}
		switch err := store.Backup(cmd.Context(), o, args[0], *force); {
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("%s exists: name another file, or replace it with --force", args[0])
		case err != nil:
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the database is copied to %s\n", args[0])
		return err
	}
	return cmd
}
