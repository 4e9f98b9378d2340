package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func syncCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sync", Short: "Bring the files of the site up to date with central now",
		Long: "sync has the running agent ask central what has changed, and fetch what its policy says the site is to have and\n" +
			"has not: files that are here are left alone, and so are the chunks that a changed file shares with its old version.\n" +
			"What machines wait for goes first. It ends with an error unless all is there.",
		Args: cobra.NoArgs,
	}
	format := cli.Output(cmd)
	force := cmd.Flags().Bool("force", false, "ask for all of central's list, and compare every file that is here with its digests")
	categories := cmd.Flags().StringSlice("category", nil, "only bootloaders, scripts, templates or images; may be repeated")
	cli.Offer(cmd, "category", wire.Categories...)
	detach := cmd.Flags().Bool("no-wait", false, "have it done in the background")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query := url.Values{"category": *categories}
		if *force {
			query.Set("force", "true")
		}
		var s admin.Sync
		err := call(cmd, http.MethodPost, admin.PathSync, query, nil, &s)
		if err == nil && !*detach {
			err = watch(cmd, admin.PathSync, syncing(&s), &s, func() (bool, int64, int64) {
				if s.Progress == nil {
					return s.Running, 0, 0
				}
				return s.Running, s.Progress.BytesDone, s.Progress.BytesTotal
			})
		}
		if err != nil {
			return err
		}
		if err := cli.Print(cmd, *format, s, func() error { showSync(cmd, s); return nil }); err != nil || *detach || s.Last == nil {
			return err
		}
		if s.Last.Status != wire.SyncSuccess {
			return fmt.Errorf("the sync ended as %s, with %d errors", s.Last.Status, s.Last.ErrorCount)
		}
		return nil
	}
	return cmd
}

// syncing says what is going on.
func syncing(s *admin.Sync) func() string {
	return func() string {
		if s.Progress == nil {
			return "syncing"
		}
		return fmt.Sprintf("syncing %d of %d files", s.Progress.FilesSynced, s.Progress.FilesTotal)
	}
}

func showSync(cmd *cobra.Command, s admin.Sync) {
	out := cmd.OutOrStdout()
	if s.Running || s.Last == nil {
		fmt.Fprintf(out, "policy %s, %d files to fetch\n", s.Policy, s.PendingItems)
		return
	}
	took := time.Duration(s.Last.DurationSeconds * float64(time.Second)).Round(100 * time.Millisecond)
	fmt.Fprintf(out, "%s: %d of %d files, %s, %s over the network, %d removed, in %v\n", s.Last.Status, s.Last.FilesSynced, s.Last.FilesTotal,
		cli.Size(s.Last.BytesDone), cli.Size(s.Last.BytesTransferred), s.Last.FilesRemoved, took)
	for _, e := range s.Last.Errors {
		name := e.File
		if name == "" {
			name = "central"
		}
		fmt.Fprintf(out, "%s: %s\n", name, e.Error)
	}
	if more := s.Last.ErrorCount - len(s.Last.Errors); more > 0 {
		fmt.Fprintf(out, "and %d more\n", more)
	}
}

// errUnwatched is what ends the waiting for work of the agent's.
var errUnwatched = errors.New("no longer waited for; the agent goes on")

// since says how long ago something was.
func since(at *time.Time) string {
	if text := ago(at); text != "now" {
		return text + " ago"
	}
	return "just now"
}
