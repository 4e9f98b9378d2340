package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/fleet"
	"github.com/pureboot/pureboot/central/inherit"
	"github.com/pureboot/pureboot/central/store"
)

const pathSites = "/api/v1/sites"

func siteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "site",
		Short: "Look after the sites of a central that serves, and tell their agents what to do",
		Long:  "SITE is a name or an id everywhere. What a site does not set itself it has from the sites above it.",
	}
	dial := remote(cmd)
	cmd.AddCommand(siteListCommand(dial), siteShowCommand(dial), siteCreateCommand(dial), sitePatchCommand(dial), siteMoveCommand(dial),
		siteRemoveCommand(dial), siteTokenCommand(dial), siteRotateCommand(dial), siteRevokeCommand(dial), siteSyncCommand(dial), siteInvalidateCommand(dial), siteCommandsCommand(dial))
	return cmd
}

func siteListCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the sites, how their agents are and how many nodes they have",
		Args:  cobra.NoArgs,
	}
	flags := cmd.Flags()
	parent := flags.String("parent", "", "only the sites right below this one; none for those at the top")
	search := flags.String("search", "", "only the sites with this in their name")
	sort := flags.String("sort", "path", "name, path or created_at, with a minus in front the other way round")
	format := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		query := url.Values{"sort": {*sort}}
		if *search != "" {
			query.Set("search", *search)
		}
		if *parent == "none" {
			query.Set("parent_id", *parent)
		} else if *parent != "" {
			id, err := c.site(cmd.Context(), *parent)
			if err != nil {
				return err
			}
			query.Set("parent_id", id.String())
		}
		sites, err := list[store.Group](cmd.Context(), c, pathSites, query)
		if err != nil {
			return err
		}
		return print(cmd, *format, sites, func() error {
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "PATH\tAGENT\tLAST SEEN\tNODES\tBELOW\tID")
			for _, s := range sites {
				fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\n", s.Path, agentOf(s), moment(s.AgentLastSeen), s.NodeCount, s.ChildCount, s.ID)
			}
			return table.Flush()
		})
	}
	return cmd
}

// agentOf says how a site's agent is.
func agentOf(s store.Group) string {
	if s.AgentStatus == nil {
		return "none"
	}
	return *s.AgentStatus
}

func siteShowCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show SITE",
		Short: "Show a site, the settings in effect there and where each comes from",
		Args:  cobra.ExactArgs(1),
	}
	format := output(cmd)
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
		return print(cmd, *format, s, func() error { return showSite(cmd, c, s) })
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

func siteCreateCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create NAME [FIELD=VALUE...]",
		Short:   "Make a site",
		Example: "  pureboot-central site create lyon --parent france cache_policy=mirror params.ntp=ntp.example",
		Args:    cobra.MinimumNArgs(1),
	}
	parent := cmd.Flags().String("parent", "", "site that it is to be below")
	format := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		fields, err := parseFields(args[1:], nil)
		if err != nil {
			return err
		}
		fields["name"] = args[0]
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		if *parent != "" {
			if fields["parent_id"], err = c.site(cmd.Context(), *parent); err != nil {
				return err
			}
		}
		var made store.Group
		if err := c.call(cmd.Context(), "POST", pathSites, fields, &made); err != nil {
			return err
		}
		return print(cmd, *format, made, func() error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "site %s is %s\n", made.Path, made.ID)
			return err
		})
	}
	return cmd
}

func sitePatchCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "patch SITE [FIELD=VALUE...]",
		Short: "Change fields and settings of a site",
		Long: "FIELD is one of the site's, as show lists them, or params.NAME. VALUE is text or, where the field is a number, a\n" +
			"list or true or false, JSON. --inherit has a site use again what the sites above it say.",
		Example: "  pureboot-central site patch lyon cache_policy=pattern 'cache_patterns=[\"images/**\"]' params.ntp=ntp.example\n" +
			"  pureboot-central site patch lyon --inherit cache_max_size_gb --inherit params.ntp",
		Args: cobra.MinimumNArgs(1),
	}
	flags := cmd.Flags()
	clear := flags.StringArray("inherit", nil, "field to inherit again; may be repeated")
	version := flags.Int64("if-version", 0, "change it only if this is its version, as show has it")
	format := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		fields, err := parseFields(args[1:], *clear)
		if err != nil {
			return err
		}
		if len(fields) == 0 {
			return errors.New("nothing to change: name FIELD=VALUE or --inherit FIELD")
		}
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		return c.patchSite(cmd, args[0], fields, *version, *format)
	}
	return cmd
}

// textFields are the fields whose value is text, whatever it looks like.
var textFields = []string{
	"name", "description", "parent_id", "agent_url", "default_workflow_id", "autonomy_level", "conflict_resolution", "cache_policy",
	"discovery_method", "migration_policy", "sync_schedule",
	"mac_address", "hostname", "ip_address", "workflow_id", "group_id", "home_site_id", "arch", "boot_mode", "vendor", "model",
	"serial_number", "system_uuid", "extra_cmdline", "state",
}

// parseFields makes a merge patch of FIELD=VALUE and of the fields to clear. FIELD may be MAP.NAME.
func parseFields(set, clear []string) (map[string]any, error) {
	fields := map[string]any{}
	put := func(field string, value any) {
		if m, name, ok := strings.Cut(field, "."); ok {
			below, _ := fields[m].(map[string]any)
			if below == nil {
				below = map[string]any{}
				fields[m] = below
			}
			below[name] = value
			return
		}
		fields[field] = value
	}
	for _, s := range set {
		field, text, ok := strings.Cut(s, "=")
		if !ok || field == "" {
			return nil, fmt.Errorf("%q: want FIELD=VALUE", s)
		}
		var value any = text
		if !slices.Contains(textFields, field) && !strings.Contains(field, ".") {
			if err := json.Unmarshal([]byte(text), &value); err != nil {
				value = text // which central refuses by the field's name, if it is none
			}
		}
		put(field, value)
	}
	for _, field := range clear {
		put(field, nil)
	}
	return fields, nil
}

func siteMoveCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "move SITE PARENT",
		Short: "Put a site, and all below it, below another one; PARENT none puts it at the top",
		Args:  cobra.ExactArgs(2),
	}
	format := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		fields := map[string]any{"parent_id": nil}
		if args[1] != "none" {
			if fields["parent_id"], err = c.site(cmd.Context(), args[1]); err != nil {
				return err
			}
		}
		return c.patchSite(cmd, args[0], fields, 0, *format)
	}
	return cmd
}

// patchSite changes a site, and says where it is now.
func (c *client) patchSite(cmd *cobra.Command, name string, fields map[string]any, version int64, format string) error {
	id, err := c.site(cmd.Context(), name)
	if err != nil {
		return err
	}
	var changed store.Group
	if err := c.send(cmd.Context(), "PATCH", pathSites+"/"+id.String(), ifVersion(version), fields, &changed); err != nil {
		return err
	}
	return print(cmd, format, changed, func() error {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "site %s is at version %d\n", changed.Path, changed.Version)
		return err
	})
}

// ifVersion returns the header that guards a write; 0 guards nothing.
func ifVersion(version int64) http.Header {
	header := http.Header{}
	if version != 0 {
		header.Set("If-Match", fmt.Sprintf("%q", strconv.FormatInt(version, 10)))
	}
	return header
}

func siteRemoveCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm SITE...",
		Short: "Delete sites that have no nodes and nothing below them; their agents lose their credentials",
		Args:  cobra.MinimumNArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return eachSite(cmd, dial, args, func(ctx context.Context, c *client, name string, id uuid.UUID) error {
			if err := c.call(ctx, "DELETE", pathSites+"/"+id.String(), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "site %s is deleted\n", name)
			return err
		})
	}
	return cmd
}

// eachSite does something to all sites that are named, whether or not it fails for some.
func eachSite(cmd *cobra.Command, dial dialer, names []string, do func(ctx context.Context, c *client, name string, id uuid.UUID) error) error {
	c, err := dial(cmd)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		id, err := c.site(cmd.Context(), name)
		if err == nil {
			err = do(cmd.Context(), c, name, id)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
