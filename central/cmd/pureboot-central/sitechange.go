package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/cli"
)

func siteCreateCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create NAME [FIELD=VALUE...]",
		Short:   "Make a site",
		Long:    "FIELD is one of the site's, as show lists them, or params.NAME. What is left out it has from the sites above it.",
		Example: "  pureboot-central site create lyon --parent france cache_policy=mirror params.ntp=ntp.example",
		Args:    cobra.MinimumNArgs(1),
	}
	parent := cmd.Flags().String("parent", "", "site that it is to be below")
	format := cli.Output(cmd)
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
		return cli.Print(cmd, *format, made, func() error {
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
	patch := patches(cmd, "inherit", "field to inherit again")
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
		return c.patchSite(cmd, args[0], fields, *patch.version, *format)
	}
	return cmd
}

func siteMoveCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "move SITE PARENT",
		Short: "Put a site, and all below it, below another one; PARENT none puts it at the top",
		Args:  cobra.ExactArgs(2),
	}
	format := cli.Output(cmd)
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
func (c *client) patchSite(cmd *cobra.Command, name string, fields map[string]any, version int64, as cli.Format) error {
	id, err := c.site(cmd.Context(), name)
	if err != nil {
		return err
	}
	var changed store.Group
	if err := c.send(cmd.Context(), "PATCH", pathSites+"/"+id.String(), ifVersion(version), fields, &changed); err != nil {
		return err
	}
	return cli.Print(cmd, as, changed, func() error {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "site %s is at version %d\n", changed.Path, changed.Version)
		return err
	})
}
