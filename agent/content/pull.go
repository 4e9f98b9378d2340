package content

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// maxFiles bounds a manifest: more than that is none of boot files, but a fault.
const maxFiles = 1_000_000

// pulled is what central's pages said.
type pulled struct {
	full    bool // all there is, not a difference
	epoch   wire.Epoch
	changes map[cache.Key]*known // nil: removed
}

// Epoch returns up to where central's changes of content are known here; zero at first.
func (f *Files) Epoch() wire.Epoch {
	f.manifest.mu.RLock()
	defer f.manifest.mu.RUnlock()
	return f.manifest.epoch
}

// Pull learns what changed at central up to an epoch; it does nothing if that is known. What central removed leaves
// the cache. After an error of central's nothing is changed.
func (f *Files) Pull(ctx context.Context, to wire.Epoch) error {
	f.pulling.Lock()
	defer f.pulling.Unlock()
	since := f.Epoch()
	if f.opt.Central == nil || to.Stream == "" || since.Covers(to) {
		return nil
	}
	p, err := f.pages(ctx, since)
	if err != nil {
		return fmt.Errorf("pull the manifest: %w", err)
	}
	f.manifest.apply(p)
	removed := f.removeGone(p)
	f.dropVariants()
	f.opt.Log.Info("manifest pulled", "epoch", p.epoch, "full", p.full, "changes", len(p.changes), "removed", removed)
	return f.manifest.save()
}

// notice pulls the manifest in the background if central has an epoch that is not known here.
func (f *Files) notice(epoch wire.Epoch) {
	if f.Epoch().Covers(epoch) {
		return
	}
	f.flight.DoChan("manifest", func() (any, error) { // no key is like that
		if !f.begin() {
			return nil, nil
		}
		defer f.work.Done()
		if err := f.Pull(f.ctx, epoch); err != nil && f.ctx.Err() == nil {
			f.opt.Log.Warn("manifest not pulled", "err", err)
		}
		return nil, nil
	})
}

// pages reads every page, or none.
func (f *Files) pages(ctx context.Context, since wire.Epoch) (pulled, error) {
	p := pulled{changes: map[cache.Key]*known{}}
	items, cursor := 0, ""
	for first := true; ; first = false {
		page, err := f.opt.Central.Manifest(ctx, since, cursor)
		if err != nil {
			return p, err
		}
		switch {
		case first && !page.Full && page.Epoch.Stream != since.Stream:
			return p, errors.New("central tells the differences to another history")
		case !first && (page.Full != p.full || page.Epoch.Stream != p.epoch.Stream):
			return p, errors.New("central began its history anew between two pages")
		}
		// Until the last page the epoch is that of the page's last item. A file that changes meanwhile comes again on
		// a later page.
		p.full, p.epoch = page.Full, page.Epoch
		if items += len(page.Items); items > f.maxFiles {
			return p, fmt.Errorf("more than %d files", f.maxFiles)
		}
		for _, item := range page.Items {
			if err := p.take(item); err != nil {
				return p, err
			}
		}
		if page.Next == "" {
			return p, nil
		}
		if len(page.Items) == 0 || page.Next == cursor {
			return p, errors.New("a page that leads nowhere")
		}
		cursor = page.Next
	}
}

// take adds an item. What no request here can name, such as a category of the future, is passed over.
func (p *pulled) take(item wire.ManifestItem) error {
	key, err := keyOf(item.Category, item.Path)
	if err != nil {
		return nil
	}
	if item.Removed {
		p.changes[key] = nil
		return nil
	}
	digest, err := cache.ParseDigest(item.SHA256)
	if err != nil || item.Size < 0 {
		return fmt.Errorf("%s is described wrongly: %d bytes, digest %.80q", key, item.Size, item.SHA256)
	}
	p.changes[key] = &known{Size: item.Size, SHA256: digest, Modified: item.Modified}
	return nil
}

// removeGone removes from the cache what a pull says central has no more, and returns how much that was.
func (f *Files) removeGone(p pulled) (removed int) {
	remove := func(key cache.Key) {
		if _, ok := f.manifest.get(key); ok {
			return
		}
		if err := f.opt.Cache.Remove(key); err != nil {
			f.opt.Log.Warn("removed file still in the cache", "key", key, "err", err)
		}
		removed++
	}
	if p.full {
		for e := range f.opt.Cache.All() {
			if category, _ := Split(e.Key); slices.Contains(wire.Categories, category) { // else it is not central's
				remove(e.Key)
			}
		}
		return removed
	}
	for key, change := range p.changes {
		if change == nil {
			remove(key)
		}
	}
	return removed
}
