package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/cli"
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
	cli.Offer(cmd, "sort", eitherWay("name", "path", "created_at")...)
	format := cli.Output(cmd)
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
		return cli.Print(cmd, *format, sites, func() error {
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

// sitePaths are the paths of all sites, for people to read in place of ids.
type sitePaths map[uuid.UUID]string

func (c *client) sitePaths(ctx context.Context) (sitePaths, error) {
	sites, err := list[store.Group](ctx, c, pathSites, nil)
	paths := sitePaths{}
	for _, s := range sites {
		paths[s.ID] = s.Path
	}
	return paths, err
}

// of returns the id of a site that is gone.
func (p sitePaths) of(site uuid.UUID) string { return cmp.Or(p[site], site.String()) }
