package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/cli"
)

func cachePrefetchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "prefetch [NAME|PATTERN|URL...]", Short: "Have objects fetched before anybody asks; without names, show how far that is",
		Long: "prefetch puts names on the list of what the cache is to have: central's files by name or pattern, and URLs below\n" +
			"upstreams. The agent fetches them in the background, after all that machines wait for, again when central has\n" +
			"other files, and also after a restart.",
	}
	format := cli.Output(cmd)
	wait := cmd.Flags().Bool("wait", false, "wait until all of the list is there")
	off := cmd.Flags().Bool("rm", false, "take the names off the list instead; what was fetched stays")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var p admin.Prefetch
		var err error
		switch {
		case *off:
			err = call(cmd, http.MethodDelete, admin.PathPrefetch, url.Values{"item": args}, nil, &p)
		case len(args) > 0:
			err = call(cmd, http.MethodPost, admin.PathPrefetch, nil, admin.Names{Items: args}, &p)
		default:
			err = call(cmd, http.MethodGet, admin.PathPrefetch, nil, nil, &p)
		}
		if err == nil && *wait {
			err = watch(cmd, admin.PathPrefetch, always("prefetching"), &p, func() (bool, int64, int64) {
				var have, all int64
				for _, i := range p.Items {
					have, all = have+i.HaveBytes, all+i.SizeBytes
				}
				return p.Running, have, all
			})
		}
		if err != nil {
			return err
		}
		err = cli.Print(cmd, *format, p, func() error { showPrefetch(cmd, p); return nil })
		for _, i := range p.Items {
			if *wait && i.State == admin.PrefetchFailed {
				err = errors.Join(err, fmt.Errorf("%s: %s", i.Item, i.Error))
			}
		}
		return err
	}
	return cmd
}

func showPrefetch(cmd *cobra.Command, p admin.Prefetch) {
	tabled(cmd, "item\tstate\tfiles\tsize\tended", func(row func(string, ...any)) {
		for _, i := range p.Items {
			ended := ago(i.FinishedAt)
			if i.Error != "" {
				ended += "\t" + oneLine(i.Error)
			}
			row("%s\t%s\t%d of %d\t%s of %s\t%s", i.Item, i.State, i.FilesDone, i.Files, cli.Size(i.HaveBytes), cli.Size(i.SizeBytes), ended)
		}
	})
}

// always says the same of work that goes on.
func always(what string) func() string { return func() string { return what } }

// watch asks how far some work is until it has ended, into out, of which state tells. It shows that on a terminal.
func watch[T any](cmd *cobra.Command, path string, what func() string, out *T, state func() (running bool, done, total int64)) error {
	client, err := operate(cmd)
	if err != nil {
		return err
	}
	b := newBar()
	defer b.clear()
	for {
		running, done, total := state()
		if !running {
			return nil
		}
		b.show(what(), done, total)
		select {
		case <-cmd.Context().Done():
			return errUnwatched
		case <-time.After(look):
		}
		*out = *new(T)
		if err := client.Call(cmd.Context(), http.MethodGet, path, nil, nil, out); err != nil {
			return err
		}
	}
}

func cacheVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify", Short: "Read all of the cache's disk now, and repair what is damaged",
		Long: "verify compares each object whose digest is known with it. A damaged piece of central's files is fetched again;\n" +
			"what cannot be repaired leaves the cache. If a check runs already, verify waits for that one.",
		Args: cobra.NoArgs,
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var v admin.Verify
		err := call(cmd, http.MethodPost, admin.PathVerify, nil, nil, &v)
		if err == nil {
			err = watch(cmd, admin.PathVerify, always("verifying"), &v, func() (bool, int64, int64) { return v.Running, v.CheckedBytes, v.TotalBytes })
		}
		if err != nil {
			return err
		}
		return cli.Print(cmd, *format, v, func() error {
			fmt.Fprintf(cmd.OutOrStdout(), "%s checked, %d damaged, %d repaired\n", cli.Size(v.CheckedBytes), v.Corrupt, v.Repaired)
			return nil
		})
	}
	return cmd
}
