package agent

import (
	"runtime"
	"strconv"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/central/wire"
)

// metrics are all of them, in the order of docs/metrics.md, which says the same of each.
var metrics = []metric{
	gauge("build_info", "1, for the program's version, the protocol it speaks with central and the Go it was built with.", func(s *snapshot, out emit) {
		out(1, s.version, strconv.Itoa(wire.ProtocolVersion), runtime.Version())
	}, "version", "protocol", "go_version"),

	counter("http_requests_total", "Requests of machines and other clients, by who answers (content: boot files; upstream; other: scripts and reports) and class of status; none: the client left before there was one.", func(s *snapshot, out emit) {
		for route, classes := range s.gateway.Requests {
			for class, n := range classes {
				code := strconv.Itoa(class) + "xx"
				if class == 0 {
					code = "none"
				}
				out(float64(n), string(route), code)
			}
		}
	}, "route", "code"),
	counter("http_sent_bytes_total", "Bytes of bodies that were sent by HTTP.", func(s *snapshot, out emit) {
		for route, n := range s.gateway.Sent {
			out(float64(n), string(route))
		}
	}, "route"),
	gauge("http_active_requests", "HTTP requests that are being answered.", one(func(s *snapshot) int { return s.gateway.Active })),
	counter("http_refused_requests_total", "HTTP requests that were asked to come back, because too many were being answered.", one(func(s *snapshot) int64 { return s.gateway.Refused })),
	counter("boots_total", "Boot scripts handed out, by what asked (ipxe, grub; bootstrap: any iPXE that then asks for its own) and what the script does (installer, local, wait; once: the workflow that was ordered for this boot; safe: it says what is wrong and boots the local disk).", func(s *snapshot, out emit) {
		for served, n := range s.gateway.Boots {
			out(float64(n), served.Loader, served.Script)
		}
	}, "loader", "script"),
	counter("tftp_transfers_total", "TFTP transfers that ended: done, aborted (the client wanted no more, as firmware that only asks for the size) or failed.", func(s *snapshot, out emit) {
		out(float64(s.tftp.done.Load()), "done")
		out(float64(s.tftp.aborted.Load()), "aborted")
		out(float64(s.tftp.failed.Load()), "failed")
	}, "result"),
	counter("tftp_sent_bytes_total", "Bytes of files that TFTP clients have acknowledged, of transfers that ended.", one(func(s *snapshot) int64 { return s.tftp.bytes.Load() })),

	counter("content_opens_total", "Central's files that were opened for machines: hit (here, and the current version), miss (a transfer was begun), collapsed (one was running), stale (an older version, because central did not give the current one), pass (the cache could not take it), missing (no such file) or unavailable.", func(s *snapshot, out emit) {
		for _, r := range []struct {
			result string
			n      int64
		}{
			{"hit", s.content.Hits},
			{"miss", s.content.Misses},
			{"collapsed", s.content.Collapsed},
			{"stale", s.content.Stale},
			{"pass", s.content.Passed},
			{"missing", s.content.Missing},
			{"unavailable", s.content.Unavailable},
		} {
			out(float64(r.n), r.result)
		}
	}, "result"),
	gauge("content_epoch", "Up to where central's changes of files are known.", one(func(s *snapshot) int64 { return s.epoch.N })),
	counter("central_file_questions_total", "Questions to central what a file is made of.", one(func(s *snapshot) int64 { return s.content.Questions })),
	counter("central_content_requests_total", "Requests to central for the bytes of files.", one(func(s *snapshot) int64 { return s.content.Requests })),
	counter("central_content_failures_total", "Those of them that brought none.", one(func(s *snapshot) int64 { return s.content.Failures })),
	counter("central_content_received_bytes_total", "Bytes of files received from central, as they came over the wire.", one(func(s *snapshot) int64 { return s.content.Bytes })),
	counter("content_copied_bytes_total", "Bytes of changed files that were not fetched, because their old version had them.", one(func(s *snapshot) int64 { return s.content.Copied })),
	gauge("sync_running", "1 while a sync runs, else 0.", one(func(s *snapshot) int { return b2i(s.sync.Running != nil) })),
	counter("syncs_total", "Syncs that ended: success, partial (some files could not be had) or failed (none could, or not the list of them).", func(s *snapshot, out emit) {
		for _, status := range []string{wire.SyncSuccess, wire.SyncPartial, wire.SyncFailed} {
			out(float64(s.sync.Results[status]), status)
		}
	}, "result"),
	counter("sync_files_total", "Files that syncs have brought, or verified.", one(func(s *snapshot) int64 { return s.sync.Files })),
	counter("sync_received_bytes_total", "Bytes that came over the network for syncs.", one(func(s *snapshot) int64 { return s.sync.Bytes })),
	gauge("sync_last_end_timestamp_seconds", "When the last sync ended, in Unix time; none before the first.", func(s *snapshot, out emit) {
		if last := s.sync.Last; last != nil {
			out(float64(last.FinishedAt.UnixMilli()) / 1e3)
		}
	}),
	gauge("sync_remaining_files", "Files that the sync which runs has still to bring; none while none runs.", syncing(func(p *wire.SyncProgress) int64 { return int64(p.FilesTotal - p.FilesSynced) })),
	gauge("sync_remaining_bytes", "Their bytes that are not there.", syncing(func(p *wire.SyncProgress) int64 { return p.BytesTotal - p.BytesDone })),
	gauge("sync_eta_seconds", "How long that takes at the pace so far; 0: not known.", syncing(func(p *wire.SyncProgress) int64 { return p.ETASeconds })),
	gauge("sync_pending_files", "Files that the next sync would fetch.", one(func(s *snapshot) int { return s.missing })),
	gauge("central_enrolled", "1 if the agent is enrolled with a central, else 0.", one(func(s *snapshot) int { return b2i(s.enrolled) })),
	gauge("central_up", "1 while central answers, else 0.", one(func(s *snapshot) int { return b2i(s.online) })),
	gauge("central_offline_seconds", "For how long central has been out of reach.", one(func(s *snapshot) float64 { return s.offline.Seconds() })),

	gauge("variants", "Compressed forms of files that are kept in memory, or were found not to be worth it.", one(func(s *snapshot) int64 { return s.variants.Entries })),
	gauge("variants_size_bytes", "Their size.", one(func(s *snapshot) int64 { return s.variants.Bytes })),
	counter("variants_derived_total", "Compressed forms that were made, in vain included.", one(func(s *snapshot) int64 { return s.variants.Derived })),
	counter("variants_served_total", "Answers with a compressed form.", one(func(s *snapshot) int64 { return s.variants.Served })),
	counter("variants_saved_bytes_total", "Bytes that these were shorter than the files.", one(func(s *snapshot) int64 { return s.variants.Saved })),

	upstreamCounter("requests_total", "Requests of clients below the prefix of an upstream.", func(s httpcache.Stats) int64 { return s.Requests }),
	counter("upstream_answers_total", "How they were answered: hit (from the cache, without asking), validated (from the cache, after the origin confirmed it), stale (from the cache, because the origin failed), miss, collapsed (with what was being fetched for somebody else), pass (sent on as they were) or failure (502 or 504; also of what was sent on).", func(s *snapshot, out emit) {
		for prefix, u := range s.upstreams {
			for _, r := range []struct {
				result string
				n      int64
			}{
				{"hit", u.Hits},
				{"validated", u.Validated},
				{"stale", u.Stale},
				{"miss", u.Misses},
				{"collapsed", u.Collapsed},
				{"pass", u.Passed},
				{"failure", u.Failures},
			} {
				out(float64(r.n), prefix, r.result)
			}
		}
	}, "upstream", "result"),
	upstreamCounter("cached_sent_bytes_total", "Bytes of bodies that the cache had or was receiving, sent to clients.", func(s httpcache.Stats) int64 { return s.BytesSent }),
	upstreamCounter("invalidations_total", "Resources that were forgotten because a client changed them.", func(s httpcache.Stats) int64 { return s.Invalidated }),
	upstreamCounter("origin_requests_total", "Requests to the origin.", func(s httpcache.Stats) int64 { return s.OriginRequests }),
	upstreamCounter("origin_failures_total", "Those of them that got no answer.", func(s httpcache.Stats) int64 { return s.OriginFailures }),
	upstreamCounter("origin_received_bytes_total", "Bytes of bodies received from the origin.", func(s httpcache.Stats) int64 { return s.OriginBytes }),
	gauge("upstream_up", "0 if the last request to the origin got no answer, else 1.", func(s *snapshot, out emit) {
		for prefix, u := range s.upstreams {
			out(float64(b2i(!u.Failing)), prefix)
		}
	}, "upstream"),

	counter("cache_reads_total", "Readers that were given an object, by where it was: hot (in memory), disk, fill (they began a transfer: a miss), joined (a transfer was running) or pass (it cannot be stored).", func(s *snapshot, out emit) {
		out(float64(s.cache.HotHits), string(cache.TierHot))
		out(float64(s.cache.DiskHits), string(cache.TierDisk))
		out(float64(s.cache.Misses), string(cache.TierFill))
		out(float64(s.cache.Coalesced), string(cache.TierJoined))
		out(float64(s.cache.PassThrough), string(cache.TierPass))
	}, "tier"),
	counter("cache_fills_total", "Transfers that ended: done, or failed (what they brought of a large object is kept for the next).", func(s *snapshot, out emit) {
		out(float64(s.cache.Fills), "done")
		out(float64(s.cache.FillErrors), "failed")
	}, "result"),
	gauge("cache_fills", "Transfers that run.", one(func(s *snapshot) int64 { return s.cache.Filling })),
	counter("cache_received_bytes_total", "Bytes that the cache received from central and from origins, as they came over the wire.", one(func(s *snapshot) int64 { return s.cache.BytesIn })),
	counter("cache_resumes_total", "Cuts of transfers after which they went on.", one(func(s *snapshot) int64 { return s.cache.Resumes })),
	counter("cache_range_fetches_total", "Parts that were fetched ahead of the rest of their object, because a reader wanted them.", one(func(s *snapshot) int64 { return s.cache.Ranges })),
	counter("cache_adoptions_total", "Transfers that went on with what an earlier one had left.", one(func(s *snapshot) int64 { return s.cache.Adopted })),
	counter("cache_adopted_bytes_total", "Bytes of central's files that they did not fetch again.", one(func(s *snapshot) int64 { return s.cache.Resumed })),
	counter("cache_journals_total", "Notes of how far a transfer is, made for after a crash.", one(func(s *snapshot) int64 { return s.cache.Journals })),
	counter("cache_evictions_total", "Objects that were evicted: for the cap on the size (size), for free space on the disk (free_space), or by an operator (operator).", func(s *snapshot, out emit) {
		out(float64(s.cache.EvictedSize), "size")
		out(float64(s.cache.EvictedFree), "free_space")
		out(float64(s.cache.EvictedByHand), "operator")
	}, "reason"),
	counter("cache_purged_objects_total", "Objects that were purged.", one(func(s *snapshot) int64 { return s.cache.Purged })),
	counter("cache_corruptions_total", "Wrong chunks received, and damaged files found on the disk.", one(func(s *snapshot) int64 { return s.cache.Corruptions })),
	counter("cache_repairs_total", "Damaged chunks on the disk that were put right.", one(func(s *snapshot) int64 { return s.cache.Repaired })),
	counter("cache_verified_bytes_total", "Bytes on the disk that were read and compared with their digests.", one(func(s *snapshot) int64 { return s.cache.Scrubbed })),
	gauge("cache_disk_state", "1 for the state of the cache's disk, 0 for the others: ok, full (no more may be stored there) or failing. What is not stored is passed through.", func(s *snapshot, out emit) {
		for _, state := range []cache.DiskState{cache.DiskOK, cache.DiskFull, cache.DiskFailing} {
			out(float64(b2i(s.cache.Disk.State == state)), string(state))
		}
	}, "state"),
	counter("cache_disk_errors_total", "Operations that the disk has failed at, a full one among them.", one(func(s *snapshot) int64 { return s.cache.DiskErrors })),
	gauge("cache_objects", "Objects in the cache, whole ones.", usage(func(u cache.Usage) int64 { return u.Entries }), "category"),
	gauge("cache_size_bytes", "Their size.", usage(func(u cache.Usage) int64 { return u.Bytes }), "category"),
	gauge("cache_pinned_size_bytes", "The size of those that are never evicted: bootloaders, and what an operator has pinned.", one(func(s *snapshot) int64 { return s.cache.Pinned })),
	gauge("cache_unfinished_objects", "Objects of which a transfer that ended has left a part to a later one.", one(func(s *snapshot) int64 { return s.cache.Parts })),
	gauge("cache_unfinished_size_bytes", "The size of these parts.", one(func(s *snapshot) int64 { return s.cache.Partial })),
	gauge("cache_max_size_bytes", "The cap on the size.", one(func(s *snapshot) int64 { return s.cache.MaxBytes })),
	gauge("cache_free_bytes", "Free space on the cache's filesystem; -1 if it does not tell.", one(func(s *snapshot) int64 { return s.cache.FreeBytes })),
	gauge("cache_min_free_bytes", "What is to be left free there.", one(func(s *snapshot) int64 { return s.cache.MinFreeBytes })),
	gauge("cache_hot_size_bytes", "Objects held in memory.", one(func(s *snapshot) int64 { return s.cache.HotBytes })),
	gauge("cache_hot_max_size_bytes", "The memory there is for them.", one(func(s *snapshot) int64 { return s.cache.HotMaxBytes })),

	gauge("nodes", "Machines of which there is a copy of central's record.", readable(func(s *snapshot) int { return s.nodes })),
	gauge("nodes_seen_last_hour", "Machines that were there in the last hour.", one(func(s *snapshot) int { return s.seen })),
	gauge("outbox_reports", "Machines' reports that wait for central.", readable(func(s *snapshot) int { return s.outbox })),
}

// syncing gives a value while a sync runs.
func syncing(value func(*wire.SyncProgress) int64) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		if p := s.sync.Running; p != nil {
			out(float64(value(p)))
		}
	}
}

func upstreamCounter(name, help string, value func(httpcache.Stats) int64) metric {
	return counter("upstream_"+name, help, func(s *snapshot, out emit) {
		for prefix, u := range s.upstreams {
			out(float64(value(u)), prefix)
		}
	}, "upstream")
}

// usage gives a value for each category that has objects.
func usage(value func(cache.Usage) int64) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		for category, u := range s.usage {
			out(float64(value(u)), category)
		}
	}
}

// readable gives no value for what cannot be read at the moment.
func readable(value func(*snapshot) int) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		if n := value(s); n >= 0 {
			out(float64(n))
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
