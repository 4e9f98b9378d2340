package main

import (
	"errors"
	"fmt"
	"net/url"
	"text/tabwriter"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/cli"
)

const pathMigrations = "/api/v1/migrations"

func migrationCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migration",
		Short: "Decide where a node belongs that booted at another site",
		Long: "A claim that no policy of the sites decides waits a week for an administrator. What is decided is final;\n" +
			"a rejected claim stands for 30 days, and meanwhile nobody is asked again.",
	}
	dial := remote(cmd)
	cmd.AddCommand(migrationListCommand(dial),
		migrationDecideCommand(dial, "approve", "Let nodes move to the sites that claim them"),
		migrationDecideCommand(dial, "reject", "Leave nodes where they are"))
	return cmd
}

func migrationListCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the claims of sites to nodes of others, the latest first",
		Args:  cobra.NoArgs,
	}
	flags := cmd.Flags()
	status := flags.String("status", "", "only those that are pending, approved, rejected or expired")
	cli.Offer(cmd, "status", "pending", "approved", "rejected", "expired")
	site := flags.String("site", "", "only those from or to this site")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		query := url.Values{}
		if *status != "" {
			query.Set("status", *status)
		}
		if *site != "" {
			id, err := c.site(cmd.Context(), *site)
			if err != nil {
				return err
			}
			query.Set("site_id", id.String())
		}
		claims, err := list[store.Claim](cmd.Context(), c, pathMigrations, query)
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, claims, func() error {
			sites, err := c.sitePaths(cmd.Context())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "ID\tNODE\tFROM\tTO\tSTATUS\tPOLICY\tCLAIMED\tENDS")
			for _, k := range claims {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.NodeID, from(sites, k.SourceSiteID), sites.of(k.TargetSiteID), k.Status,
					orDash(k.PolicyMatched), moment(&k.CreatedAt), moment(&k.ExpiresAt))
			}
			return table.Flush()
		})
	}
	return cmd
}

// from names a site that may be gone.
func from(sites sitePaths, site *uuid.UUID) string {
	if site == nil {
		return "-"
	}
	return sites.of(*site)
}

func migrationDecideCommand(dial dialer, verb, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb + " ID...",
		Short: short,
		Args:  cobra.MinimumNArgs(1),
	}
	comment := cmd.Flags().String("comment", "", "why, for the audit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		var errs []error
		for _, id := range args {
			var k store.Claim
			body := map[string]string{"comment": *comment}
			if err := c.call(cmd.Context(), "POST", pathMigrations+"/"+url.PathEscape(id)+"/"+verb, body, &k); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", id, err))
				continue
			}
			fmt.Fprintf(cmd.OutOrStdout(), "claim %s to node %s is %s\n", k.ID, k.NodeID, k.Status)
		}
		return errors.Join(errs...)
	}
	return cmd
}
