package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/cli"
)

func siteShowCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show SITE",
		Short: "Show a site, the settings in effect there and where each comes from",
		Args:  cobra.ExactArgs(1),
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		id, err := c.site(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		var s store.Group
		if err := c.call(cmd.Context(), "GET", pathSites+"/"+id.String(), nil, &s); err != nil {
			return err
		}
		return cli.Print(cmd, *format, s, func() error { return showSite(cmd, c, s) })
	}
	return cmd
}

// showSite writes a site and its settings as two tables.
func showSite(cmd *cobra.Command, c *client, s store.Group) error {
	settings, err := effective(s.Effective)
	if err != nil {
		return err
	}
	var health fleet.Health
	if err := c.call(cmd.Context(), "GET", pathSites+"/"+s.ID.String()+"/health", nil, &health); err != nil {
		return err
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, fact := range [][2]string{
		{"name", s.Name},
		{"id", s.ID.String()},
		{"path", s.Path},
		{"description", s.Description},
		{"agent", agentOf(s)},
		{"last seen", moment(s.AgentLastSeen)},
		{"agent url", s.AgentURL},
		{"settings", configOf(s, health.Config)},
		{"pinned", strings.Join(health.Config.Pinned, ", ")},
		{"nodes", strconv.Itoa(s.NodeCount)},
		{"below", strconv.Itoa(s.ChildCount)},
		{"version", strconv.FormatInt(s.Version, 10)},
	} {
		if fact[1] != "" {
			fmt.Fprintf(table, "%s:\t%s\n", fact[0], fact[1])
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	fmt.Fprintln(table, "SETTING\tVALUE\tFROM")
	names := map[string]string{s.ID.String(): "itself", inherit.Default: "default"}
	for _, setting := range settings {
		from, known := names[setting.from]
		if !known {
			var above store.Group
			if err := c.call(cmd.Context(), "GET", pathSites+"/"+setting.from, nil, &above); err != nil {
				return err
			}
			from = above.Path
			names[setting.from] = from
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", setting.name, setting.value, from)
	}
	return table.Flush()
}

// configOf says how far a site's settings have come at its agent, if it has one.
func configOf(s store.Group, c fleet.Config) string {
	if s.AgentStatus == nil {
		return ""
	}
	text := c.State + ", generation " + c.Generation
	if c.Applied != c.Generation && c.Applied != "" {
		text += ", the agent works by " + c.Applied
	}
	if c.Reason != "" {
		text += ": " + c.Reason
	}
	return text
}

// setting is one line of what is in effect.
type setting struct{ name, value, from string }

// effective lists the settings, and the parameters after them.
func effective(e inherit.Effective) ([]setting, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	delete(fields, "params")
	var settings []setting
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		var v inherit.Value[json.RawMessage]
		if err := json.Unmarshal(fields[name], &v); err != nil {
			return nil, err
		}
		settings = append(settings, setting{name, strings.Trim(string(v.Value), `"`), v.From})
	}
	for _, name := range slices.Sorted(maps.Keys(e.Params)) {
		settings = append(settings, setting{"params." + name, e.Params[name].Value, e.Params[name].From})
	}
	return settings, nil
}
