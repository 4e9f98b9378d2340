package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/cli"
)

const pathConflicts = "/api/v1/sync/conflicts"

func conflictCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conflict",
		Short: "Settle what central and a site say differently of a node",
		Long:  "A site that was offline changes nodes as central does, and each does not know of the other.",
	}
	dial := remote(cmd)
	cmd.AddCommand(conflictListCommand(dial), conflictShowCommand(dial), conflictResolveCommand(dial))
	return cmd
}

func conflictListCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the open conflicts",
		Args:  cobra.NoArgs,
	}
	flags := cmd.Flags()
	site := flags.String("site", "", "only those of this site")
	all := flags.Bool("all", false, "those that were resolved as well")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		query := url.Values{}
		if !*all {
			query.Set("state", "open")
		}
		if *site != "" {
			id, err := c.site(cmd.Context(), *site)
			if err != nil {
				return err
			}
			query.Set("site_id", id.String())
		}
		conflicts, err := list[store.SyncConflict](cmd.Context(), c, pathConflicts, query)
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, conflicts, func() error {
			sites, err := c.sitePaths(cmd.Context())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "ID\tSINCE\tOF\tSITE\tFIELDS\tRESOLVED")
			for _, k := range conflicts {
				fmt.Fprintf(table, "%s\t%s\t%s/%s\t%s\t%s\t%s\n", k.ID, moment(&k.DetectedAt), k.EntityType, k.EntityID, sites.of(k.SiteID),
					strings.Join(k.Fields, ","), settled(k))
			}
			return table.Flush()
		})
	}
	return cmd
}

// settled says how a conflict was resolved.
func settled(k store.SyncConflict) string {
	if k.Resolution == nil {
		return "-"
	}
	return *k.Resolution + " by " + k.ResolvedBy
}

func conflictShowCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show what each side says",
		Args:  cobra.ExactArgs(1),
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		var k store.SyncConflict
		if err := c.call(cmd.Context(), "GET", pathConflicts+"/"+url.PathEscape(args[0]), nil, &k); err != nil {
			return err
		}
		return cli.Print(cmd, *format, k, func() error {
			sites, err := c.sitePaths(cmd.Context())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, fact := range [][2]string{
				{"of", k.EntityType + "/" + k.EntityID.String()},
				{"site", sites.of(k.SiteID)},
				{"since", moment(&k.DetectedAt)},
				{"resolved", settled(k)},
			} {
				fmt.Fprintf(table, "%s:\t%s\n", fact[0], fact[1])
			}
			fmt.Fprintln(table, "\nFIELD\tBOTH BEGAN WITH\tCENTRAL\tSITE")
			base, central, site := members(k.BaseState), members(k.CentralState), members(k.SiteState)
			for _, field := range k.Fields {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", field, orDash(string(base[field])), orDash(string(central[field])), orDash(string(site[field])))
			}
			return table.Flush()
		})
	}
	return cmd
}

// members returns the members of an object, none if it is not known.
func members(text json.RawMessage) map[string]json.RawMessage {
	var of map[string]json.RawMessage
	_ = json.Unmarshal(text, &of) // what is no object has none
	return of
}

func conflictResolveCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resolve ID",
		Short: "Choose what the node shall be",
		Long:  "Central's state is what the node is now; a site's changes the fields in conflict; a merged one is given as JSON.",
		Example: "  pureboot-central conflict resolve 0199… --accept site\n" +
			"  pureboot-central conflict resolve 0199… --merge '{\"hostname\": \"web-7\", \"params\": {\"rack\": null}}'",
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	accept := flags.String("accept", "", "central or site")
	cli.Offer(cmd, "accept", "central", "site")
	merge := flags.String("merge", "", "the fields that the node shall have, a JSON object")
	cmd.MarkFlagsOneRequired("accept", "merge")
	cmd.MarkFlagsMutuallyExclusive("accept", "merge")
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		choice := map[string]any{"resolution": "merged"}
		switch {
		case *accept == "central" || *accept == "site":
			choice["resolution"] = "accepted_" + *accept
		case *accept != "":
			return fmt.Errorf("--accept %q: want central or site", *accept)
		default:
			var fields map[string]any
			if err := json.Unmarshal([]byte(*merge), &fields); err != nil || fields == nil {
				return errors.New("--merge: want a JSON object")
			}
			choice["merged_state"] = fields
		}
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		path := pathConflicts + "/" + url.PathEscape(args[0])
		read, err := c.do(cmd.Context(), "GET", path, nil, nil)
		if err != nil {
			return err
		}
		if err := decode(read, nil); err != nil {
			return err
		}
		var k store.SyncConflict
		// Of a node that changes meanwhile nobody has seen what the choice would do.
		header := http.Header{"If-Match": {read.Header.Get("ETag")}}
		if err := c.send(cmd.Context(), "POST", path+"/resolve", header, choice, &k); err != nil {
			return err
		}
		return cli.Print(cmd, *format, k, func() error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "conflict %s is resolved: %s\n", k.ID, settled(k))
			return err
		})
	}
	return cmd
}
