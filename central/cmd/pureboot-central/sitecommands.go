package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/lifecycle"
	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func siteSyncCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sync SITE...",
		Short: "Have the agents of sites bring their content up to date",
		Long:  "An agent that is offline does it with its next heartbeat.",
		Args:  cobra.MinimumNArgs(1),
	}
	flags := cmd.Flags()
	var spec store.CommandSpec
	flags.BoolVar(&spec.Params.Force, "force", false, "have them verify all files again")
	flags.StringArrayVar(&spec.Params.Categories, "category", nil, "only bootloaders, scripts, templates or images; may be repeated")
	cli.Offer(cmd, "category", wire.Categories...)
	return queueCommand(cmd, dial, wire.CommandSync, &spec)
}

func siteInvalidateCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "invalidate SITE...",
		Short:   "Have the agents of sites doubt what they have cached, and verify it or ask again",
		Example: "  pureboot-central site invalidate lyon --scope content --glob 'images/debian-12/**'",
		Args:    cobra.MinimumNArgs(1),
	}
	flags := cmd.Flags()
	var spec store.CommandSpec
	flags.StringVar(&spec.Params.Scope, "scope", "all", "content, nodes or all")
	cli.Offer(cmd, "scope", "content", "nodes", "all")
	flags.StringVar(&spec.Params.Glob, "glob", "", "of the content, only these files")
	flags.StringVar(&spec.Params.MAC, "mac", "", "of the nodes, only the one with this MAC address")
	return queueCommand(cmd, dial, wire.CommandInvalidate, &spec)
}

// queueCommand makes a command queue what spec says for each site.
func queueCommand(cmd *cobra.Command, dial dialer, command string, spec *store.CommandSpec) *cobra.Command {
	spec.Command = command
	ttl := cmd.Flags().Duration("ttl", 0, "how long it may wait for the agent; a week unless told otherwise")
	wait := cmd.Flags().Bool("wait", false, "wait until it has ended, and fail if it did not succeed")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if spec.TTLSeconds = int(*ttl / time.Second); spec.TTLSeconds < 1 && cmd.Flags().Changed("ttl") { // 0 would be a week
			return errors.New("--ttl: want a second or more")
		}
		var waiting []func() error
		err := eachSite(cmd, dial, args, func(ctx context.Context, c *client, name string, id uuid.UUID) error {
			path := pathSites + "/" + id.String() + "/commands"
			var queued store.Command
			if err := c.call(ctx, "POST", path, spec, &queued); err != nil {
				return err
			}
			if *wait {
				waiting = append(waiting, func() error {
					return c.await(cmd, name, fmt.Sprintf("%s/%d", path, queued.Seq), *format)
				})
				return nil
			}
			return cli.Print(cmd, *format, queued, func() error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "site %s: command %d is queued\n", name, queued.Seq)
				return err
			})
		})
		errs := []error{err}
		for _, wait := range waiting { // the sites are at it all at once
			errs = append(errs, wait())
		}
		return errors.Join(errs...)
	}
	return cmd
}

// lookAgain is the pause before central is asked again what has become of a command.
const lookAgain = time.Second

// await waits until a command of a site has ended, and shows on a terminal how far it is. It is an error if it did not
// succeed.
func (c *client) await(cmd *cobra.Command, site, path string, as cli.Format) error {
	screen, width := cmd.ErrOrStderr(), columns(cmd.ErrOrStderr())
	show := func(text string) { // in place of what is shown
		if width > 0 {
			fmt.Fprintf(screen, "\r%-*.*s\r", width-1, width-1, text)
		}
	}
	defer show("")
	for {
		var k store.Command
		if err := c.call(cmd.Context(), "GET", path, nil, &k); err != nil {
			return err
		}
		text := fmt.Sprintf("site %s: command %d is %s", site, k.Seq, k.State)
		if k.Result != "" {
			text += ": " + k.Result
		}
		if k.State.Final() {
			show("")
			err := cli.Print(cmd, as, k, func() error {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
				return err
			})
			if err == nil && k.State != lifecycle.CommandSucceeded {
				err = fmt.Errorf("%s: command %d did not succeed", site, k.Seq)
			}
			return err
		}
		show(text)
		select {
		case <-cmd.Context().Done():
			return context.Cause(cmd.Context())
		case <-time.After(lookAgain):
		}
	}
}

// recalled says that a command is not taken back yet; "" if nobody has asked for it, or it is.
func recalled(k store.Command) string {
	if k.Recall == "" {
		return ""
	}
	return string(k.State) + ", and is recalled: its agent will say whether it had begun"
}

func siteCommandsCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "commands SITE",
		Short: "List the commands of a site and what became of them, or take one back",
		Args:  cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	state := flags.String("state", "", "only those in this state, as queued or failed")
	cli.Offer(cmd, "state", lifecycle.CommandStates...)
	cancel := flags.Int64("cancel", 0, "take back the command with this number, if it has not begun")
	cmd.MarkFlagsMutuallyExclusive("state", "cancel")
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
		path := pathSites + "/" + id.String() + "/commands"
		if *cancel != 0 {
			var canceled store.Command
			if err := c.call(cmd.Context(), "POST", fmt.Sprintf("%s/%d/cancel", path, *cancel), nil, &canceled); err != nil {
				return err
			}
			return cli.Print(cmd, *format, canceled, func() error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "site %s: command %d is %s\n", args[0], canceled.Seq, cmp.Or(recalled(canceled), string(canceled.State)))
				return err
			})
		}
		query := url.Values{}
		if *state != "" {
			query.Set("state", *state)
		}
		commands, err := list[store.Command](cmd.Context(), c, path, query)
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, commands, func() error {
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "NUMBER\tCOMMAND\tSTATE\tQUEUED\tBY\tENDED\tRESULT")
			for _, k := range commands {
				ended := "-"
				if k.FinishedAt != nil {
					ended = moment(k.FinishedAt)
				}
				fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", k.Seq, k.Command, k.State, moment(&k.CreatedAt), k.CreatedBy, ended, k.Result)
			}
			return table.Flush()
		})
	}
	return cmd
}
