package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/wire"
)

func contentStatusCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how much there is, what is free and what the garbage collection did",
		Args:  cobra.NoArgs,
	}
	format := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		var s content.Status
		if err := c.call(cmd.Context(), "GET", wire.PathContent+"/status", nil, &s); err != nil {
			return err
		}
		return print(cmd, *format, s, func() error { return showStatus(cmd, s) })
	}
	return cmd
}

func showStatus(cmd *cobra.Command, s content.Status) error {
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(table, name+"\t"+format+"\n", args...) }
	row("files", "%d", s.Files)
	row("contents", "%d different ones, previous versions among them, %s", s.Blobs, size(s.Bytes))
	row("free", "%s", size(s.FreeBytes))
	row("uploads", "%d wait for bytes", s.Uploads)
	switch c := s.Collection; {
	case c == nil:
		row("collection", "none yet")
	case c.Error != "":
		row("collection", "%s: stopped early: %s", c.At.Format(time.RFC3339), c.Error)
	default:
		row("collection", "%s: deleted %d contents (%s) and %d uploads, put %d strays aside",
			c.At.Format(time.RFC3339), c.Blobs, size(c.Bytes), c.Uploads, c.Strays)
	}
	return table.Flush()
}
