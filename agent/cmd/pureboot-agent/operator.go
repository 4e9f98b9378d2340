package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent/admin"
)

// operate returns a client of the agent that the configuration names.
func operate(cmd *cobra.Command) (*admin.Client, error) {
	cfg, err := config(cmd)
	if err != nil {
		return nil, err
	}
	if cfg.Listen.Admin == "" {
		return nil, errors.New("listen.admin is empty, so that an agent cannot be asked")
	}
	return admin.NewClient(cfg.Listen.Admin), nil
}

// tabled writes lines whose cells are parted by tabs, under their headings.
func tabled(cmd *cobra.Command, headings string, lines func(row func(format string, args ...any))) {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	defer w.Flush()
	if headings != "" {
		fmt.Fprintln(w, strings.ToUpper(headings))
	}
	lines(func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) })
}

// ago is how long ago something was, for people.
func ago(at *time.Time) string {
	if at == nil {
		return "-"
	}
	switch d := time.Since(*at); {
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	default:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	}
}
