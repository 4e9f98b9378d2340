package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/httpcache"
	"github.com/pureboot/pureboot/agent/uplink"
	"github.com/pureboot/pureboot/central/wire"
)

// effects are what central's commands do here, by their names. What is not among them is rejected.
func (a *Agent) effects() map[string]uplink.Effect {
	return map[string]uplink.Effect{
		wire.CommandSync:       a.syncByCommand,
		wire.CommandInvalidate: a.invalidate,
		wire.CommandUpdateConfig: func(ctx context.Context, p wire.CommandParams, _ func(string)) (string, error) {
			return a.config.Update(ctx, p.Generation)
		},
	}
}

// syncByCommand syncs, at least up to the content that there was when central was asked for it.
func (a *Agent) syncByCommand(ctx context.Context, p wire.CommandParams, say func(string)) (string, error) {
	for _, category := range p.Categories {
		if !slices.Contains(wire.Categories, category) {
			return "", fmt.Errorf("%w: no category %.80q", uplink.ErrRejected, category)
		}
	}
	over := make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Second):
				if run := a.syncer.Running(); run != nil {
					say(syncText(*run))
				}
			}
		}
	})
	done, err := a.syncer.Sync(ctx, uplink.SyncRequest{Trigger: wire.TriggerCommand, Force: p.Force, Categories: p.Categories, Epoch: p.Epoch})
	close(over)
	told.Wait()
	if err != nil {
		return "", err
	}
	text := done.Status + ": " + syncText(done.SyncProgress)
	if done.FilesRemoved > 0 {
		text += fmt.Sprintf(", %d removed", done.FilesRemoved)
	}
	if done.Status == wire.SyncSuccess {
		return text, nil
	}
	errs := []error{fmt.Errorf("%d errors", done.ErrorCount)}
	for _, e := range done.Errors {
		errs = append(errs, fmt.Errorf("%s: %s", cmp.Or(e.File, "all"), e.Error))
	}
	return text, errors.Join(errs...)
}

// syncText says how far a sync is.
func syncText(p wire.SyncProgress) string {
	text := fmt.Sprintf("%d of %d files, %d of %d bytes, %d transferred", p.FilesSynced, p.FilesTotal, p.BytesDone, p.BytesTotal, p.BytesTransferred)
	if p.ETASeconds > 0 {
		text += fmt.Sprintf(", %v left", time.Duration(p.ETASeconds)*time.Second)
	}
	return text
}

// invalidate has the site doubt what it has: files of central's are compared with what central says they are, upstreams'
// objects and copies of nodes are asked for again when they are needed next. All of it still serves while nobody can
// be asked.
func (a *Agent) invalidate(ctx context.Context, p wire.CommandParams, say func(string)) (string, error) {
	var done []string
	switch p.Scope {
	case "content", "nodes", "all":
	default:
		return "", fmt.Errorf("%w: no scope %.80q", uplink.ErrRejected, p.Scope)
	}
	glob, err := content.ParseGlob(cmp.Or(p.Glob, everything))
	if err != nil {
		return "", fmt.Errorf("%w: %w", uplink.ErrRejected, err)
	}
	if p.Scope != "content" {
		text, err := a.invalidateNodes(ctx, p.MAC)
		if err != nil {
			return "", err
		}
		done = append(done, text)
	}
	if p.Scope != "nodes" {
		text, err := a.invalidateContent(ctx, glob, p.Glob == "", say)
		if err != nil {
			return "", err
		}
		done = append(done, text)
	}
	return strings.Join(done, "; "), nil
}

func (a *Agent) invalidateNodes(ctx context.Context, mac string) (string, error) {
	if mac == "" {
		return "all copies of nodes are asked for again", a.nodes.ExpireAll(ctx)
	}
	known, err := a.nodes.ExpireMAC(ctx, mac)
	if !known {
		return "there was no copy of " + mac, err
	}
	return "the copy of " + mac + " is asked for again", err
}

// everything is the glob of all files.
const everything = "**"

// invalidateContent doubts the files of a glob, and what upstreams have brought if all is doubted.
func (a *Agent) invalidateContent(ctx context.Context, glob content.Glob, all bool, say func(string)) (string, error) {
	found, err := a.files.Recheck(ctx, glob.Match, func(done, of int) { say(fmt.Sprintf("%d of %d files verified", done, of)) })
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%d files verified, %d outdated, %d removed, %d of %d corrupt chunks repaired",
		found.Files, found.Outdated, found.Removed, found.Repaired, found.Corrupt)
	if !all {
		return text, nil
	}
	upstream := func(e cache.Entry) bool { return httpcache.IsKey(e.Key) }
	for _, h := range a.upstreams {
		h.Forget(upstream)
	}
	n, err := a.cache.MarkStale(upstream)
	return fmt.Sprintf("%s; %d objects of upstreams are validated again", text, n), err
}
