package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func nodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Look after the nodes of a central that serves",
		Long:  "NODE is a MAC address of any of its interfaces, a host name or an id everywhere.",
	}
	dial := remote(cmd)
	cmd.AddCommand(nodeListCommand(dial), nodeShowCommand(dial), nodeCreateCommand(dial), nodePatchCommand(dial), nodeStateCommand(dial), nodeTagCommand(dial), nodeRemoveCommand(dial),
		nodeExportCommand(dial), nodeImportCommand(dial), nodeBootScriptCommand(dial), nodeRenderCommand(dial))
	return cmd
}

func nodeListCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the nodes",
		Args:  cobra.NoArgs,
	}
	flags := cmd.Flags()
	site := flags.String("site", "", "only the nodes whose home is this site or one below it")
	state := flags.String("state", "", "only the nodes in this state")
	cli.Offer(cmd, "state", lifecycle.States...)
	tags := flags.StringArray("tag", nil, "only the nodes with this tag; may be repeated, and then all are needed")
	search := flags.String("search", "", "only the nodes with this in their name, addresses, vendor, model or serial number")
	sort := flags.String("sort", string(store.NodesByMAC), "mac_address, hostname, created_at or last_seen_at, with a minus in front the other way round")
	cli.Offer(cmd, "sort", eitherWay(store.NodesByMAC, store.NodesByName, store.NodesByCreated, store.NodesBySeen)...)
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		query := url.Values{"sort": {*sort}, "tag": *tags}
		for name, value := range map[string]string{"state": *state, "search": *search} {
			if value != "" {
				query.Set(name, value)
			}
		}
		if *site != "" {
			id, err := c.site(cmd.Context(), *site)
			if err != nil {
				return err
			}
			query.Set("home_site_id", id.String())
			query.Set("descendants", "true")
		}
		nodes, err := list[wire.Node](cmd.Context(), c, wire.PathNodes, query)
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, nodes, func() error {
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "MAC\tNAME\tSTATE\tADDRESS\tLAST SEEN\tTAGS\tID")
			for _, n := range nodes {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.MACAddress, orDash(n.Hostname), n.State, orDash(n.IPAddress),
					moment(n.LastSeenAt), orDash(strings.Join(n.Tags, ",")), n.ID)
			}
			return table.Flush()
		})
	}
	return cmd
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func nodeShowCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NODE",
		Short: "Show a node and how its state came about",
		Args:  cobra.ExactArgs(1),
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		n, err := c.node(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, n, func() error { return showNode(cmd, c, n) })
	}
	return cmd
}

// showNode writes a node and its history as two tables.
func showNode(cmd *cobra.Command, c *client, n wire.Node) error {
	history, err := list[store.StateStep](cmd.Context(), c, wire.PathNodes+"/"+n.ID+"/history", nil)
	if err != nil {
		return err
	}
	facts := [][2]string{
		{"mac address", n.MACAddress},
		{"hostname", n.Hostname},
		{"id", n.ID},
		{"state", n.State},
		{"last error", n.LastInstallError},
		{"ip address", n.IPAddress},
		{"workflow", n.WorkflowID},
		{"group", n.GroupID},
		{"home site", n.HomeSiteID},
		{"arch", n.Arch},
		{"boot mode", n.BootMode},
		{"vendor", n.Vendor},
		{"model", n.Model},
		{"serial number", n.SerialNumber},
		{"system uuid", n.SystemUUID},
		{"extra cmdline", n.ExtraCmdline},
		{"next boot", n.NextBoot},
		{"tags", strings.Join(n.Tags, ", ")},
		{"last seen", moment(n.LastSeenAt)},
		{"version", strconv.FormatInt(n.Version, 10)},
	}
	for _, card := range n.Interfaces {
		facts = append(facts, [2]string{"interface", strings.TrimSpace(card.MACAddress + " " + card.Name)})
	}
	for _, name := range slices.Sorted(maps.Keys(n.Params)) {
		facts = append(facts, [2]string{"params." + name, n.Params[name]})
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, fact := range facts {
		if fact[1] != "" {
			fmt.Fprintf(table, "%s:\t%s\n", fact[0], fact[1])
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	fmt.Fprintln(table, "AT\tFROM\tTO\tBY\tCOMMENT")
	for _, step := range history {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", moment(&step.At), orDash(step.From), step.To, step.By, step.Comment)
	}
	return table.Flush()
}

// node returns the node that a MAC address, a host name or an id names.
func (c *client) node(ctx context.Context, name string) (wire.Node, error) {
	var n wire.Node
	if _, err := uuid.Parse(name); err == nil {
		err := c.call(ctx, "GET", wire.PathNodes+"/"+url.PathEscape(name), nil, &n)
		return n, err
	}
	query := url.Values{"search": {name}}
	mac, notMAC := lifecycle.ParseMAC(name)
	if notMAC == nil {
		query = url.Values{"mac": {mac}}
	}
	nodes, err := list[wire.Node](ctx, c, wire.PathNodes, query)
	if err != nil {
		return n, err
	}
	if notMAC != nil {
		nodes = slices.DeleteFunc(nodes, func(n wire.Node) bool { return n.Hostname != name })
	}
	switch len(nodes) {
	case 0:
		return n, fmt.Errorf("no node is called %q", name)
	case 1:
		return nodes[0], nil
	}
	return n, fmt.Errorf("%d nodes are called %q: name one by its MAC address", len(nodes), name)
}
