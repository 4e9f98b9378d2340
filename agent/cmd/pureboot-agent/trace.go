package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/cli"
)

func traceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace MAC",
		Short: "Show what a machine has asked for in its last boots, and what it got",
		Long: "trace lists each file that the machine was sent by TFTP or HTTP since the agent's start, the oldest first, as far\n" +
			"as they are remembered. Requests of one kind in a row are one line. FROM is where the agent had a file from: its\n" +
			"memory (hot), its disk, central as the machine waited (fill), past the cache (upstream), or an old version (stale).",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: names(machines).complete(1),
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var t admin.Trace
		if err := call(cmd, http.MethodGet, admin.TracePath(url.PathEscape(args[0])), nil, nil, &t); err != nil {
			return err
		}
		return cli.Print(cmd, *format, t, func() error { showTrace(cmd, t); return nil })
	}
	return cmd
}

func showTrace(cmd *cobra.Command, t admin.Trace) {
	if len(t.Items) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "%s has asked for nothing since the agent's start\n", t.MACAddress)
		return
	}
	tabled(cmd, "time\tclient\tby\tfile\tsize\tfrom\tresult", func(row func(string, ...any)) {
		for _, s := range t.Items {
			by, result := s.Protocol, "ok"
			if s.Method != "" {
				by = strings.ToLower(s.Method)
			}
			switch {
			case s.Error != "":
				result = s.Error
			case s.Protocol == "http":
				result = fmt.Sprint(s.Status)
			}
			if s.Requests > 1 {
				result += fmt.Sprintf(", %d times", s.Requests)
			}
			row("%s\t%s\t%s\t%s\t%s\t%s\t%s", s.At.Local().Format("Jan 02 15:04:05"), s.Client, by, s.File, cli.Size(s.Bytes), s.Tier, result)
		}
	})
}
