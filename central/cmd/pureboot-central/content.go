package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/wire"
)

func contentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "content",
		Short: "Look after the boot files of a central that serves",
	}
	dial := remote(cmd)
	cmd.AddCommand(contentListCommand(dial))
	return cmd
}

// dialer returns the client that the flags of a command describe.
type dialer = func(*cobra.Command) (*client, error)

func contentListCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls [CATEGORY[/PREFIX]]",
		Short:   "List files",
		Example: "  pureboot-central content ls images/debian-12/",
		Args:    cobra.MaximumNArgs(1),
	}
	format := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		query := url.Values{}
		if len(args) == 1 {
			category, prefix, _ := strings.Cut(args[0], "/")
			if !slices.Contains(wire.Categories, category) {
				return fmt.Errorf("%q: want one of %s, and what the paths begin with", args[0], strings.Join(wire.Categories, ", "))
			}
			query.Set("category", category)
			query.Set("prefix", prefix)
		}
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		files, err := list[wire.File](cmd.Context(), c, wire.PathContent, query)
		if err != nil {
			return err
		}
		return print(cmd, *format, files, func() error {
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "NAME\tBYTES\tMODIFIED\tSHA256")
			for _, f := range files {
				fmt.Fprintf(table, "%s/%s\t%d\t%s\t%s\n", f.Category, f.Path, f.Size, f.Modified.Format(time.RFC3339), f.SHA256)
			}
			return table.Flush()
		})
	}
	return cmd
}
