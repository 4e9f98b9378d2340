package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/pureboot/pureboot/agent/admin"
	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/central/wire"
)

// Report implements uplink.Site: what the heartbeat says of this site.
func (a *Agent) Report(ctx context.Context) wire.Heartbeat {
	h := a.report(ctx)
	h.Config = a.config.Tell()
	return h
}

func (a *Agent) report(ctx context.Context) wire.Heartbeat {
	stats := a.cache.Stats()
	h := wire.Heartbeat{
		UptimeSeconds:     int64(time.Since(a.began) / time.Second),
		Services:          map[string]string{},
		NodesSeenLastHour: a.nodes.SeenWithin(time.Hour),
		ActiveBoots:       a.activeBoots(),
		CacheSizeBytes:    stats.Bytes,
		CacheEntries:      int(stats.Entries),
		CacheHitRate:      hitRate(stats),
		DiskUsagePercent:  diskUsage(a.cfg.CacheDir()),
		OfflineSeconds:    int64(a.link.LastOffline() / time.Second),
		ContentEpoch:      a.files.Epoch(),
	}
	for name := range a.Addresses() {
		if name != "metrics" { // without which the site is not degraded
			h.Services[name] = "running"
		}
	}
	if a.https != nil {
		if _, ok := a.shown.Ready(); !ok {
			h.Services["https"] = "there is no certificate yet, which central makes"
		}
	}
	if corrupt := a.files.Corrupt(); len(corrupt) > 0 {
		h.Services["content"] = fmt.Sprintf("central sends other bytes than it describes, of %d files; the first is %.200s", len(corrupt), corrupt[0])
	}
	if stats.Disk.State != cache.DiskOK { // machines are served all the same
		h.Services["cache"] = fmt.Sprintf("the disk is %s: %s", stats.Disk.State, stats.Disk.Error)
	}
	a.reportSync(&h)
	var err, epochErr error
	h.NodeCacheEntries, err = a.nodes.Count(ctx)
	h.NodeEpoch, epochErr = a.nodes.Epoch(ctx)
	if err := errors.Join(err, epochErr); err != nil {
		a.log.Error("node store not readable", "err", err)
		h.Services["nodes"] = "the node store cannot be read"
	}
	if a.commands != nil {
		a.commands.Report(&h)
	}
	return h
}

// activeBoots counts the machines that are being served, over HTTP, TFTP or both.
func (a *Agent) activeBoots() int {
	machines := map[string]bool{}
	for _, client := range a.gateway.Clients() {
		machines[strings.Trim(client, "[]")] = true
	}
	for _, client := range a.server.Clients() {
		machines[client.Addr().Unmap().String()] = true
	}
	return len(machines)
}

// status is what the operator sees.
func (a *Agent) status(ctx context.Context) admin.Status {
	s := admin.Status{
		Version:    a.version,
		CentralURL: a.identity.CentralURL,
		SiteID:     a.identity.SiteID,
		SiteName:   a.identity.SiteName,
		Enrolled:   a.client != nil,
		Online:     a.client != nil && a.link.Online(),
		Addresses:  a.Addresses(),
		Heartbeat:  a.report(ctx),
		Cache:      a.cache.Stats(),
		Upstreams:  map[string]httpcache.Stats{},
	}
	for prefix, h := range a.upstreams {
		s.Upstreams[prefix] = h.Stats()
	}
	if a.client != nil {
		s.BootID, s.Seq = a.client.BootID(), a.heart.Seq()
		if at := a.client.Standing(); at.Refused != "" {
			s.Refused = &admin.Refused{Why: at.Refused, Detail: at.Detail, Since: at.Since}
		}
		if is := a.heart.Trouble(); is != nil {
			s.Trouble = &admin.Trouble{Error: fmt.Sprintf("%.1000s", is.Err), Since: is.Since}
		}
	}
	s.Hello = Hello(a.version)
	config := a.config.Report()
	s.Config, s.Settings = &config, a.current.Load().local()
	s.Settings.Generation = config.Generation
	if n, err := a.nodes.Waiting(ctx); err == nil {
		s.Waiting = n
	}
	return s
}

// hitRate returns the share of all reads of files since the start that needed nothing of central.
func hitRate(s cache.Stats) float64 {
	hits := s.HotHits + s.DiskHits
	all := hits + s.Misses + s.Coalesced + s.PassThrough
	if all == 0 {
		return 0
	}
	return float64(hits) / float64(all)
}

// diskUsage returns how full the filesystem of a folder is, in percent; 0 if that cannot be told.
func diskUsage(dir string) float64 {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Blocks == 0 {
		return 0
	}
	used := fs.Blocks - fs.Bfree
	return 100 * float64(used) / float64(used+fs.Bavail)
}
