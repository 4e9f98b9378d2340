package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/content"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func contentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "content",
		Short: "Look after the boot files of a central that serves",
		Long: "A file's name is CATEGORY/PATH, where the category is one of " + strings.Join(wire.Categories, ", ") + ".\n" +
			"A GLOB selects names: * and ? stay between slashes, ** goes across, [a-z] and {a,b} choose. What ends in a slash\n" +
			"stands for all below it.",
	}
	dial := remote(cmd)
	cmd.AddCommand(contentListCommand(dial), contentImportCommand(dial), contentRemoveCommand(dial), contentRollbackCommand(dial),
		contentVerifyCommand(dial), contentAssignCommand(dial), contentStatusCommand(dial))
	return cmd
}

// dialer returns the client that the flags of a command describe.
type dialer = func(*cobra.Command) (*client, error)

// selected returns the files that globs select, each once; without a glob, all. A glob that selects nothing is an
// error.
func (c *client) selected(ctx context.Context, globs ...string) ([]wire.File, error) {
	if len(globs) == 0 {
		globs = []string{"**"}
	}
	all := []wire.File{}
	for _, glob := range globs {
		pattern := glob
		if slices.Contains(wire.Categories, glob) || strings.HasSuffix(glob, "/") {
			pattern = strings.TrimSuffix(glob, "/") + "/**"
		}
		files, err := list[wire.File](ctx, c, wire.PathContent, url.Values{"glob": {pattern}})
		if err != nil {
			return nil, err
		}
		if len(files) == 0 && glob != "**" {
			return nil, fmt.Errorf("no file is named as %s", glob)
		}
		all = append(all, files...)
	}
	byName := func(a, b wire.File) int {
		return cmp.Or(cmp.Compare(a.Category, b.Category), cmp.Compare(a.Path, b.Path))
	}
	slices.SortFunc(all, byName)
	return slices.CompactFunc(all, func(a, b wire.File) bool { return byName(a, b) == 0 }), nil
}

func nameOf(f wire.File) string { return f.Category + "/" + f.Path }

// pathOf is where a file is on central.
func pathOf(f wire.File) string {
	return wire.PathContent + "/" + f.Category + "/" + (&url.URL{Path: f.Path}).EscapedPath()
}

func contentListCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls [GLOB...]",
		Short:   "List files",
		Example: "  pureboot-central content ls 'images/debian-*/**'",
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		files, err := c.selected(cmd.Context(), args...)
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, files, func() error { return listFiles(cmd, files) })
	}
	return cmd
}

func listFiles(cmd *cobra.Command, files []wire.File) error {
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tBYTES\tMODIFIED\tSHA256")
	for _, f := range files {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", nameOf(f), f.Size, f.Modified.Format(time.RFC3339), f.SHA256)
	}
	return table.Flush()
}

func contentRemoveCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm GLOB...",
		Short: "Remove files",
		Long: "The last version is kept for 30 days, and rollback brings it back, unless it is purged. A file that workflows\n" +
			"name or that is assigned to sites is not removed, unless an admin forces it.",
		Args: cobra.MinimumNArgs(1),
	}
	flags := cmd.Flags()
	purge := flags.Bool("purge", false, "keep no version, and give the disk its space back")
	force := flags.Bool("force", false, "also what is in use; needs the role admin")
	dry := flags.Bool("dry-run", false, "only say what would be removed")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		files, err := c.selected(cmd.Context(), args...)
		if err != nil {
			return err
		}
		query := url.Values{}
		if *purge {
			query.Set("purge", "")
		}
		if *force {
			query.Set("force", "")
		}
		var errs []error
		for _, f := range files {
			if !*dry {
				header := http.Header{"If-Match": {content.ETag(f.SHA256)}}
				res, err := c.do(cmd.Context(), "DELETE", pathOf(f)+"?"+query.Encode(), nil, header)
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", nameOf(f), err))
					continue
				}
				res.Body.Close()
			}
			fmt.Fprintln(cmd.OutOrStdout(), nameOf(f))
		}
		return errors.Join(errs...)
	}
	return cmd
}

func contentRollbackCommand(dial dialer) *cobra.Command {
	return &cobra.Command{
		Use:   "rollback NAME",
		Short: "Exchange a file for its previous version, or bring back one that was removed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			category, path, _ := strings.Cut(args[0], "/")
			if err := content.CheckPath(category, path); err != nil {
				return err
			}
			c, err := dial(cmd)
			if err != nil {
				return err
			}
			var f wire.File
			if err := c.call(cmd.Context(), "POST", pathOf(wire.File{Category: category, Path: path})+"/rollback", nil, &f); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %d bytes with SHA-256 %s\n", nameOf(f), f.Size, f.SHA256)
			return err
		},
	}
}
