package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/central/wire"
	"github.com/pureboot/pureboot/cli"
)

func statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the running agent is doing",
		Args:  cobra.NoArgs,
	}
	format := cli.Output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var s admin.Status
		if err := call(cmd, http.MethodGet, admin.PathStatus, nil, nil, &s); err != nil {
			return err
		}
		return cli.Print(cmd, *format, s, func() error { table(cmd, s); return nil })
	}
	return cmd
}

func table(cmd *cobra.Command, s admin.Status) {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	defer w.Flush()
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, oneLine(fmt.Sprintf(format, args...)))
	}
	row("version", "%s, up %v", s.Version, time.Duration(s.UptimeSeconds)*time.Second)
	switch {
	case !s.Enrolled:
		row("central", "not enrolled: run pureboot-agent init")
	case s.Refused != nil:
		row("central", "%s, refuses this agent since %s: %s", s.CentralURL, s.Refused.Since.Format(time.DateTime), s.Refused.Detail)
	case s.Online:
		row("central", "%s, online", s.CentralURL)
	default:
		row("central", "%s, out of reach for %v", s.CentralURL, time.Duration(s.OfflineSeconds)*time.Second)
	}
	if s.Trouble != nil && s.Refused == nil {
		row("trouble", "since %s: %s", s.Trouble.Since.Format(time.DateTime), s.Trouble.Error)
	}
	if s.Enrolled {
		row("site", "%s (%s)", s.SiteName, s.SiteID)
	}
	if c := s.Config; c != nil && c.State != "" {
		row("settings", "%s", settings(*c))
	}
	if c := s.Config; c != nil && len(c.Pinned) > 0 {
		row("pinned", "%s", strings.Join(c.Pinned, ", "))
	}
	row("policy", "%s", policy(s.Settings))
	for _, name := range slices.Sorted(maps.Keys(s.Addresses)) {
		row(name, "%s", s.Addresses[name])
	}
	row("machines", "%d known, %d seen in the last hour, %d reports wait for central", s.NodeCacheEntries, s.NodesSeenLastHour, s.Waiting)
	row("cache", "%d files, %d bytes, %.0f %% of requests served from it", s.CacheEntries, s.CacheSizeBytes, 100*s.CacheHitRate)
	row("disk", "%s, %.0f %% used", diskState(s.Cache.Disk), s.DiskUsagePercent)
	if p := s.Sync; p != nil {
		left := ""
		if p.ETASeconds > 0 {
			left = fmt.Sprintf(", %v left", time.Duration(p.ETASeconds)*time.Second)
		}
		row("sync", "running: %d of %d files, %s of %s%s", p.FilesSynced, p.FilesTotal, cli.Size(p.BytesDone), cli.Size(p.BytesTotal), left)
	} else if s.LastSyncAt != nil {
		row("sync", "%s %s, %d files to fetch", s.LastSyncResult, since(s.LastSyncAt), s.PendingSyncItems)
	}
	if s.ContentEpoch.Stream != "" {
		row("content", "epoch %d", s.ContentEpoch.N)
	}
}

// oneLine is a text, of which central may have said a part, as one line without anything that a terminal obeys.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ReplaceAll(text, "\n", "; "))
}

// settings says what came of those that central sent last.
func settings(c wire.ConfigReport) string {
	switch {
	case c.State == wire.ConfigApplied:
		return "generation " + c.Offered
	case c.Generation == "":
		return fmt.Sprintf("the agent's own; generation %s %s: %s", c.Offered, strings.ReplaceAll(c.State, "_", " "), c.Reason)
	}
	return fmt.Sprintf("generation %s; %s %s: %s", c.Generation, c.Offered, strings.ReplaceAll(c.State, "_", " "), c.Reason)
}

// policy says what the cache is to hold, and when it is filled.
func policy(s wire.SiteConfig) string {
	text := s.CachePolicy
	if s.CachePolicy == wire.PolicyPattern {
		text += " of " + strings.Join(s.CachePatterns, " ")
	}
	if s.CacheMaxSizeGB > 0 {
		text += fmt.Sprintf(", at most %d GB", s.CacheMaxSizeGB)
	}
	if s.SyncSchedule != "" {
		text += fmt.Sprintf(", synced at %q", s.SyncSchedule)
	}
	if s.SyncMaxMBPerS > 0 {
		text += fmt.Sprintf(" with at most %d MB/s", s.SyncMaxMBPerS)
	}
	return text
}
