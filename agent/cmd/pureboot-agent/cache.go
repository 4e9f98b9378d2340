package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/cli"
)

func cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look into the running agent's cache, and change what is in it",
		Long: "An object of the cache is named by its key, CATEGORY/PATH, or, if an upstream has brought it, by its URL there.\n" +
			"Patterns are globs of either, in which ** crosses slashes: 'images/debian-12/**'.",
	}
	cmd.AddCommand(cacheStatusCommand(), cacheListCommand(), cacheRemoveCommand(), cachePurgeCommand(), cacheEvictCommand(),
		cachePinCommand(), cacheUnpinCommand(), cachePrefetchCommand(), cacheVerifyCommand())
	return cmd
}

func cacheStatusCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Sum up what is in the cache, and how it does", Args: cobra.NoArgs}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var c admin.Cache
		if err := call(cmd, http.MethodGet, admin.PathCache, nil, nil, &c); err != nil {
			return err
		}
		return cli.Print(cmd, *format, c, func() error { showCache(cmd, c); return nil })
	}
	return cmd
}

// call asks the agent.
func call(cmd *cobra.Command, method, path string, query url.Values, in, out any) error {
	client, err := operate(cmd)
	if err != nil {
		return err
	}
	return client.Call(cmd.Context(), method, path, query, in, out)
}

func showCache(cmd *cobra.Command, c admin.Cache) {
	tabled(cmd, "", func(row func(string, ...any)) {
		row("size\t%s of %s, %.0f %%", cli.Size(c.TotalSizeBytes), cli.Size(c.MaxSizeBytes), c.UsagePercent)
		for _, name := range slices.Sorted(maps.Keys(c.Categories)) {
			row("%s\t%d, %s", name, c.Categories[name].Count, cli.Size(c.Categories[name].SizeBytes))
		}
		row("unfinished\t%d, %s", c.Unfinished.Count, cli.Size(c.Unfinished.SizeBytes))
		row("pinned\t%s", cli.Size(c.PinnedBytes))
		row("memory\t%s of %s", cli.Size(c.HotTier.SizeBytes), cli.Size(c.HotTier.MaxSizeBytes))
		row("hits\t%.0f %%: %.0f %% from memory, %.0f %% from the disk", 100*c.HitRates.All, 100*c.HitRates.Hot, 100*c.HitRates.Disk)
		row("coalesced\t%.0f %%", 100*c.HitRates.Coalesced)
		row("disk\t%s, %s free, of which %s are left free; %d errors", diskState(c.Disk.Disk), cli.Size(c.Disk.FreeBytes), cli.Size(c.Disk.MinFreeBytes), c.Disk.Errors)
		oldest := ""
		if c.NodeCache.OldestEntry != nil {
			oldest = ", the oldest record is of " + since(c.NodeCache.OldestEntry)
		}
		row("machines\t%d known%s", c.NodeCache.Count, oldest)
	})
}

// diskState says how the disk is, and why and since when if that is not well.
func diskState(d cache.Disk) string {
	if d.State == cache.DiskOK {
		return string(d.State)
	}
	return fmt.Sprintf("%s for %v (%s)", d.State, time.Since(d.Since).Round(time.Second), d.Error)
}

func cacheListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls [PREFIX]", Short: "List the objects of the cache",
		Long: "ls lists the objects whose keys, or URLs, begin with PREFIX.", Args: cobra.MaximumNArgs(1),
	}
	format := cli.Output(cmd)
	filters := map[string]*string{}
	for name, usage := range map[string]string{
		"category": "only those of a category: " + strings.Join(admin.Categories, ", "),
		"state":    "only those that are fresh, stale, partial or filling",
		"tag":      "only those with a tag of their origin's",
	} {
		filters[name] = cmd.Flags().String(name, "", usage)
	}
	cli.Offer(cmd, "category", admin.Categories...)
	cli.Offer(cmd, "state", "fresh", "stale", "partial", "filling")
	cmd.ValidArgsFunction = names(objects).complete(1)
	pinned := cmd.Flags().Bool("pinned", false, "only those that are never evicted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		query := url.Values{"limit": {"1000"}}
		for name, value := range filters {
			if *value != "" {
				query.Set(name, *value)
			}
		}
		if *pinned {
			query.Set("pinned", "true")
		}
		if len(args) > 0 {
			query.Set("prefix", args[0])
		}
		all := admin.Entries{Items: []admin.Entry{}}
		for more := true; more; more = query.Get("cursor") != "" {
			var page admin.Entries
			if err := call(cmd, http.MethodGet, admin.PathEntries, query, nil, &page); err != nil {
				return err
			}
			all.Items = append(all.Items, page.Items...)
			query.Set("cursor", page.NextCursor)
		}
		return cli.Print(cmd, *format, all, func() error { showEntries(cmd, all.Items); return nil })
	}
	return cmd
}

func showEntries(cmd *cobra.Command, entries []admin.Entry) {
	tabled(cmd, "object\tsize\tstate\tused", func(row func(string, ...any)) {
		for _, e := range entries {
			name, state := e.Key, string(e.State)
			if e.URL != "" {
				name = e.URL
			}
			if e.HaveBytes != e.SizeBytes {
				state += ", " + cli.Size(e.HaveBytes) + " of it"
			}
			if e.Pinned {
				state += ", pinned"
			}
			row("%s\t%s\t%s\t%s", name, cli.Size(e.SizeBytes), state, ago(e.LastUsed))
		}
	})
}

func cacheRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm NAME...", Short: "Remove objects from the cache, whatever they are",
		Long: "rm removes each object that is named by its key or URL, bootloaders and pinned ones too. Clients that are\n" +
			"reading one get all of it; the next client has it fetched again.",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: names(objects).complete(math.MaxInt),
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return remove(cmd, *format, func(out *admin.Gone) error {
			var missing []error
			for _, name := range args {
				var gone admin.Gone
				if err := call(cmd, http.MethodPost, admin.PathPurge, nil, admin.Purge{Key: name}, &gone); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if gone.Objects == 0 {
					missing = append(missing, fmt.Errorf("%s: there is no such object in the cache", name))
				}
				out.Objects += gone.Objects
				out.Bytes += gone.Bytes
			}
			return errors.Join(missing...)
		})
	}
	return cmd
}

// remove shows what an action has taken out of the cache, also if it ended in an error.
func remove(cmd *cobra.Command, as cli.Format, act func(*admin.Gone) error) error {
	var gone admin.Gone
	err := act(&gone)
	if err != nil && gone.Objects == 0 {
		return err
	}
	return errors.Join(err, cli.Print(cmd, as, gone, func() error {
		fmt.Fprintf(cmd.OutOrStdout(), "%d objects, %s\n", gone.Objects, cli.Size(gone.Bytes))
		return nil
	}))
}

func cachePurgeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "purge --key NAME | --prefix PREFIX | --category CATEGORY | --tag TAG", Short: "Have objects not served any more",
		Long: "purge removes objects, bootloaders and pinned ones too. With --soft, which is for what upstreams have brought,\n" +
			"they stay, and are served again once their origin has confirmed them, or while it cannot be asked.",
		Args: cobra.NoArgs,
	}
	format := cli.Output(cmd)
	var p admin.Purge
	flags := cmd.Flags()
	flags.StringVar(&p.Key, "key", "", "the object of that key or URL")
	flags.StringVar(&p.Prefix, "prefix", "", "all whose keys, or URLs, begin so")
	flags.StringVar(&p.Category, "category", "", "all of a category: "+strings.Join(admin.Categories, ", "))
	flags.StringVar(&p.Tag, "tag", "", "all to which their origin gave that tag")
	flags.BoolVar(&p.Soft, "soft", false, "have their origin asked instead")
	cli.Offer(cmd, "category", admin.Categories...)
	cmd.MarkFlagsOneRequired("key", "prefix", "category", "tag")
	cmd.MarkFlagsMutuallyExclusive("key", "prefix", "category", "tag")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return remove(cmd, *format, func(out *admin.Gone) error {
			return call(cmd, http.MethodPost, admin.PathPurge, nil, p, out)
		})
	}
	return cmd
}

func cacheEvictCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "evict expired|lru|all", Short: "Make room, sparing bootloaders and what is pinned",
		Long: "evict removes what nobody has asked for longer than its category is kept (expired: scripts a day, templates a\n" +
			"week, all else 30 days), what the cache would evict next (lru), or all. It spares bootloaders and what is pinned.",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{string(admin.EvictExpired), string(admin.EvictLRU), string(admin.EvictAll)},
	}
	format := cli.Output(cmd)
	mb := cmd.Flags().Int64("mb", 0, "of lru: how much is to go, in 10^6 bytes; 0 means a tenth of what is there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return remove(cmd, *format, func(out *admin.Gone) error {
			in := admin.Evict{Policy: admin.EvictPolicy(args[0]), Bytes: *mb * 1e6}
			return call(cmd, http.MethodPost, admin.PathEvict, nil, in, out)
		})
	}
	return cmd
}

func cachePinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pin [NAME|PATTERN...]", Short: "Have objects never evicted; without names, list what is pinned",
		Long: "pin has the objects that are named by keys, URLs or patterns of either never evicted, those that come later too.",
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return showPins(cmd, *format, http.MethodGet, nil, nil)
		}
		return showPins(cmd, *format, http.MethodPost, nil, admin.Names{Items: args})
	}
	return cmd
}

func cacheUnpinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "unpin NAME|PATTERN...", Short: "Take names off the list of pins, as they stand on it", Args: cobra.MinimumNArgs(1),
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return showPins(cmd, *format, http.MethodDelete, url.Values{"item": args}, nil)
	}
	return cmd
}

func showPins(cmd *cobra.Command, as cli.Format, method string, query url.Values, in any) error {
	var p admin.Pins
	if err := call(cmd, method, admin.PathPins, query, in, &p); err != nil {
		return err
	}
	return cli.Print(cmd, as, p, func() error {
		for _, name := range p.Items {
			fmt.Fprintln(cmd.OutOrStdout(), name)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s, bootloaders included, are never evicted\n", cli.Size(p.PinnedBytes))
		return nil
	})
}
