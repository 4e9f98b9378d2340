package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func nodeCreateCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create MAC [FIELD=VALUE...]",
		Short: "Make a node",
		Long: "FIELD is one of the node's in the REST API, as hostname, workflow_id, group_id or state (pending, else it is\n" +
			"discovered), or params.NAME.",
		Example: "  pureboot-central node create 52:54:00:12:34:56 --site lyon hostname=web-1 state=pending params.disk=/dev/vda",
		Args:    cobra.MinimumNArgs(1),
	}
	site := cmd.Flags().String("site", "", "its home")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		fields, err := parseFields(args[1:], nil)
		if err != nil {
			return err
		}
		fields["mac_address"] = args[0]
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		if *site != "" {
			if fields["home_site_id"], err = c.site(cmd.Context(), *site); err != nil {
				return err
			}
		}
		var made wire.Node
		if err := c.call(cmd.Context(), "POST", wire.PathNodes, fields, &made); err != nil {
			return err
		}
		return cli.Print(cmd, *format, made, func() error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "node %s is %s\n", made.MACAddress, made.ID)
			return err
		})
	}
	return cmd
}

func nodePatchCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "patch NODE [FIELD=VALUE...]",
		Short: "Change fields of a node",
		Long: "FIELD is one of the node's in the REST API, or params.NAME. VALUE is text or, where the field is a list, JSON.\n" +
			"--clear empties a field, so that the workflow for instance is again what its group or home site says.",
		Example: "  pureboot-central node patch web-1 hostname=web-2 params.disk=/dev/vda 'tags=[\"web\",\"rack 7\"]'\n" +
			"  pureboot-central node patch 52:54:00:12:34:56 --clear workflow_id",
		Args: cobra.MinimumNArgs(1),
	}
	patch := patches(cmd, "clear", "field to empty")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		fields, err := patch.fields(args[1:])
		if err != nil {
			return err
		}
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		n, err := c.node(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		var changed wire.Node
		if err := c.send(cmd.Context(), "PATCH", wire.PathNodes+"/"+n.ID, ifVersion(*patch.version), fields, &changed); err != nil {
			return err
		}
		return cli.Print(cmd, *format, changed, func() error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "node %s is at version %d\n", changed.MACAddress, changed.Version)
			return err
		})
	}
	return cmd
}

func nodeStateCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "state STATE NODE...",
		Short:   "Take nodes to another state",
		Long:    "The state has to be one that may follow; what is refused names those. --force, for admins, skips that.",
		Example: "  pureboot-central node state pending web-1 web-2 --comment 'hall 3 is cabled'",
		Args:    cobra.MinimumNArgs(2),
	}
	flags := cmd.Flags()
	comment := flags.String("comment", "", "reason, for the node's history and the audit")
	force := flags.Bool("force", false, "whatever the state is, and with new attempts")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		change := wire.StateChange{State: args[0], Comment: *comment, Force: *force}
		return eachNode(cmd, dial, args[1:], func(ctx context.Context, c *client, n wire.Node) error {
			if err := c.call(ctx, "PATCH", wire.PathNodes+"/"+n.ID+"/state", change, &n); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "node %s is %s\n", n.MACAddress, n.State)
			return err
		})
	}
	return cmd
}

func nodeRemoveCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm NODE...",
		Short: "Delete nodes with their history, events and claims",
		Long:  "A machine that boots again is registered anew. One that is to be kept on record is retired instead.",
		Args:  cobra.MinimumNArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return eachNode(cmd, dial, args, func(ctx context.Context, c *client, n wire.Node) error {
			if err := c.call(ctx, "DELETE", wire.PathNodes+"/"+n.ID, nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "node %s is deleted\n", n.MACAddress)
			return err
		})
	}
	return cmd
}

func nodeTagCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "tag NODE... --add TAG --remove TAG",
		Short:   "Put tags on nodes and take them off",
		Example: "  pureboot-central node tag web-1 web-2 --add 'rack 7' --remove new",
		Args:    cobra.MinimumNArgs(1),
	}
	flags := cmd.Flags()
	add := flags.StringArray("add", nil, "tag to put on; may be repeated")
	remove := flags.StringArray("remove", nil, "tag to take off; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(*add)+len(*remove) == 0 {
			return errors.New("nothing to change: name a tag with --add or --remove")
		}
		tags := map[string]any{"add": append([]string{}, *add...), "remove": append([]string{}, *remove...)}
		return eachNode(cmd, dial, args, func(ctx context.Context, c *client, n wire.Node) error {
			var answer struct {
				Items []struct{ Problem *wire.Problem }
			}
			err := c.call(ctx, "POST", wire.PathNodes+"/bulk", map[string]any{"ids": []string{n.ID}, "tags": tags}, &answer)
			if err != nil {
				return err
			}
			for _, item := range answer.Items {
				if item.Problem != nil {
					return &wire.Refusal{Status: item.Problem.Status, Problem: *item.Problem}
				}
			}
			if n, err = c.node(ctx, n.ID); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "node %s: %s\n", n.MACAddress, orDash(strings.Join(n.Tags, ", ")))
			return err
		})
	}
	return cmd
}

// eachNode does something to all nodes that are named, whether or not it fails for some.
func eachNode(cmd *cobra.Command, dial dialer, names []string, do func(ctx context.Context, c *client, n wire.Node) error) error {
	c, err := dial(cmd)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		n, err := c.node(cmd.Context(), name)
		if err == nil {
			err = do(cmd.Context(), c, n)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
