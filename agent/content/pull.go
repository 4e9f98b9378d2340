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

// ErrManifest refuses a manifest that cannot be true. Nothing of it is believed.
var ErrManifest = errors.New("central's manifest is not to be believed")

// Pulled is what a question for the manifest brought.
type Pulled struct {
	Requests int
	Changes  int  // files that were added, changed, removed, assigned or assigned no more
	Removed  int  // of the files that central has no more, those that leave the cache
	Full     bool // it was all there is, not a difference
}

// pulled is what central's pages said.
type pulled struct {
	full     bool // all there is, not a difference
	epoch    wire.Epoch
	changes  map[cache.Key]*known // nil: removed
	needed   *needed              // nil: as before
	requests int
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
	_, err := f.pull(ctx, since)
	return err
}

// Refresh is Pull up to now: it asks even if nothing is said to have changed, and learns also what the workflows of the
// site's nodes name by now. If all is set it asks for all there is.
func (f *Files) Refresh(ctx context.Context, all bool) (Pulled, error) {
	f.pulling.Lock()
	defer f.pulling.Unlock()
	if f.opt.Central == nil {
		return Pulled{}, errNotEnrolled
	}
	var since wire.Epoch
	if !all {
		since = f.Epoch()
	}
	return f.pull(ctx, since)
}

// pull asks for the changes since an epoch. pulling is held.
func (f *Files) pull(ctx context.Context, since wire.Epoch) (Pulled, error) {
	p, err := f.pages(ctx, since)
	if err != nil {
		err = fmt.Errorf("pull the manifest: %w", err)
		if errors.Is(err, ErrManifest) {
			f.distrust.Store(&err)
		}
		return Pulled{Requests: p.requests}, err
	}
	f.distrust.Store(nil)
	did := Pulled{Requests: p.requests, Changes: len(p.changes), Full: p.full}
	if len(p.changes) == 0 && p.needed == nil && p.epoch == f.Epoch() && !p.full {
		return did, nil
	}
	renamed := p.needed != nil && f.manifest.workflows() != nil
	f.manifest.apply(p)
	if renamed {
		f.renamed.Store(true)
	}
	did.Removed = f.removeGone(p)
	f.dropVariants()
	f.reordered()
	f.opt.Log.Info("manifest pulled", "epoch", p.epoch, "full", p.full, "changes", did.Changes, "removed", did.Removed)
	return did, f.manifest.save()
}

// NewNames says whether a pull has brought another list of what workflows name since it was asked last. The first list is
// not another one.
func (f *Files) NewNames() bool { return f.renamed.Swap(false) }

// Distrusted returns why the last manifest was not believed; nil if it was.
func (f *Files) Distrusted() error {
	if err := f.distrust.Load(); err != nil {
		return *err
	}
	return nil
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
	q := wire.ManifestQuery{Since: since, Needed: f.manifest.tag()}
	items := 0
	for first := true; ; first = false {
		page, err := f.opt.Central.Manifest(ctx, q)
		p.requests++
		if err != nil {
			return p, err
		}
		switch {
		case first && !page.Full && page.Epoch.Stream != since.Stream:
			return p, fmt.Errorf("%w: it tells the differences to another history", ErrManifest)
		case !first && (page.Full != p.full || page.Epoch.Stream != p.epoch.Stream):
			return p, errors.New("central began its history anew between two pages")
		case page.Epoch.Stream == "" || page.Epoch.N < 0:
			return p, fmt.Errorf("%w: its epoch is %.80q", ErrManifest, page.Epoch)
		}
		// Until the last page the epoch is that of the page's last item. A file that changes meanwhile comes again on
		// a later page.
		p.full, p.epoch = page.Full, page.Epoch
		if items += len(page.Items); items > f.maxFiles {
			return p, fmt.Errorf("%w: more than %d files", ErrManifest, f.maxFiles)
		}
		if err := p.takePage(page); err != nil {
			return p, fmt.Errorf("%w: %w", ErrManifest, err)
		}
		if page.Next == "" {
			return p, nil
		}
		if len(page.Items) == 0 || page.Next == q.Cursor {
			return p, fmt.Errorf("%w: a page that leads nowhere", ErrManifest)
		}
		q.Cursor = page.Next
	}
}

// takePage adds a page, which names no file twice.
func (p *pulled) takePage(page wire.Manifest) error {
	seen := make(map[cache.Key]bool, len(page.Items))
	for _, item := range page.Items {
		key, err := p.take(item)
		if err != nil {
			return err
		}
		if key != "" && seen[key] {
			return fmt.Errorf("it names %s twice", key)
		}
		seen[key] = true
	}
	if page.Needed == nil {
		return nil
	}
	var err error
	p.needed, err = newNeeded(*page.Needed)
	return err
}

// take adds an item and returns its key. A category of the future is passed over.
func (p *pulled) take(item wire.ManifestItem) (cache.Key, error) {
	if !slices.Contains(wire.Categories, item.Category) {
		return "", nil
	}
	key, err := keyOf(item.Category, item.Path)
	if err != nil {
		return "", fmt.Errorf("%.200q in %s is no file's name", item.Path, item.Category)
	}
	if item.Removed {
		p.changes[key] = nil
		return key, nil
	}
	digest, err := cache.ParseDigest(item.SHA256)
	if err != nil || item.Size < 0 || item.Size > wire.MaxFile {
		return key, fmt.Errorf("%s is described wrongly: %d bytes, digest %.80q", key, item.Size, item.SHA256)
	}
	p.changes[key] = &known{Size: item.Size, SHA256: digest, Modified: item.Modified, Assigned: item.Assigned}
	return key, nil
}

// removeGone removes from the cache what a pull says central has no more, and returns how much that was.
func (f *Files) removeGone(p pulled) (removed int) {
	remove := func(key cache.Key) {
		if _, ok := f.manifest.get(key); ok {
			return
		}
		if _, here := f.opt.Cache.Current(key); !here {
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
