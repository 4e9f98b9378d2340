package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func contentStatusCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how much there is, what is free and what the garbage collection did",
		Args:  cobra.NoArgs,
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		var s content.Status
		if err := c.call(cmd.Context(), "GET", wire.PathContent+"/status", nil, &s); err != nil {
			return err
		}
		return cli.Print(cmd, *format, s, func() error { return showStatus(cmd, s) })
	}
	return cmd
}

func showStatus(cmd *cobra.Command, s content.Status) error {
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(table, name+"\t"+format+"\n", args...) }
	row("files", "%d", s.Files)
	row("contents", "%d different ones, previous versions among them, %s", s.Blobs, cli.Size(s.Bytes))
	row("free", "%s", cli.Size(s.FreeBytes))
	row("uploads", "%d wait for bytes", s.Uploads)
	switch c := s.Collection; {
	case c == nil:
		row("collection", "none yet")
	case c.Error != "":
		row("collection", "%s: stopped early: %s", c.At.Format(time.RFC3339), c.Error)
	default:
		row("collection", "%s: deleted %d contents (%s) and %d uploads, put %d strays aside",
			c.At.Format(time.RFC3339), c.Blobs, cli.Size(c.Bytes), c.Uploads, c.Strays)
	}
	return table.Flush()
}
