package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/central/store"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func contentAssignCommand(dial dialer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "assign SITE [GLOB...]",
		Short: "Add files to what a site is to have, or list what that is",
		Long: "Sites whose cache policy is assigned or pattern keep what is assigned to them, whether or not a workflow of\n" +
			"their nodes names it. SITE is a name or an id.",
	}
	flags := cmd.Flags()
	remove := flags.Bool("remove", false, "take the files from the list instead")
	only := flags.Bool("only", false, "make the files the whole list")
	cmd.MarkFlagsMutuallyExclusive("remove", "only")
	format := cli.Output(cmd)
	cmd.Args = cobra.MinimumNArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := dial(cmd)
		if err != nil {
			return err
		}
		id, err := c.site(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		files, err := c.assign(cmd.Context(), id, args[1:], *remove, *only)
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, files, func() error { return listFiles(cmd, files) })
	}
	return cmd
}

// assign changes what is assigned to a site, unless there is nothing to change, and returns it.
func (c *client) assign(ctx context.Context, site uuid.UUID, globs []string, remove, only bool) ([]wire.File, error) {
	path := "/api/v1/sites/" + site.String() + "/assigned-content"
	var now struct {
		Items []wire.File `json:"items"`
	}
	res, err := c.do(ctx, "GET", path, nil, nil)
	if err != nil {
		return nil, err
	}
	etag := res.Header.Get("ETag")
	if err := decode(res, &now); err != nil || len(globs) == 0 && !only {
		return now.Items, err
	}
	var files []wire.File
	if len(globs) > 0 {
		if files, err = c.selected(ctx, globs...); err != nil {
			return nil, err
		}
	}
	names := map[string]bool{}
	if !only {
		for _, f := range now.Items {
			names[nameOf(f)] = true
		}
	}
	for _, f := range files {
		names[nameOf(f)] = !remove
	}
	content := []string{}
	for name, in := range names {
		if in {
			content = append(content, name)
		}
	}
	now.Items = nil
	header := http.Header{"If-Match": {etag}}
	if err := c.send(ctx, "PUT", path, header, map[string][]string{"content": content}, &now); err != nil {
		return nil, err
	}
	return now.Items, nil
}

// site returns the id of a site that is given by its name or id.
func (c *client) site(ctx context.Context, name string) (uuid.UUID, error) {
	if id, err := uuid.Parse(name); err == nil {
		return id, nil
	}
	sites, err := list[store.Group](ctx, c, "/api/v1/sites", url.Values{"search": {name}})
	if err != nil {
		return uuid.Nil, err
	}
	for _, s := range sites {
		if s.Name == name {
			return s.ID, nil
		}
	}
	return uuid.Nil, fmt.Errorf("no site is named %q", name)
}
