package cache

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// recovery finds out what is published. The truth is what is on disk, and an index that
// could be wrong there is none (see indexed): every record is looked up there or read, every file's size and time are compared with its record's,
// and what does not belong to the other is deleted. What cannot be read is lost, and no more
// than that: a cache must start.
type recovery struct {
	store   *Store
	records map[string][]*record     // by data path
	tree    map[string][]fs.DirEntry // of the data, by directory
	kept    map[*record]bool
	index   map[string]*indexed
	missing atomic.Int64    // records that the index did not have
	stale   map[string]bool // records' names
	purged  map[uint64]bool // records' lineages
}

// recover fills the index from the folder and evicts down to the limits. A folder that takes no writes is left as it
// is. mu is held.
func (s *Store) recover() error {
	strict, err := s.folder.folds()
	if err != nil {
		s.diskError("write to the cache", "", err)
		s.readOnly.Store(!isFull(err)) // a full disk can be made room on
	}
	s.names = newNames(strict)
	var freed closers
	defer freed.close()
	r := &recovery{store: s, tree: map[string][]fs.DirEntry{}, kept: map[*record]bool{}}
	r.purged = s.recoverPurges()
	s.recoverParts(&freed)
	if r.stale, err = s.recordsIn(staleFile); err != nil {
		s.diskError("read stale marks", "", err)
	}
	var listing sync.WaitGroup
	listing.Go(func() { r.listTree(".") })
	r.index = s.readIndex()
	r.readRecords()
	listing.Wait()
	r.walk(".")
	for _, recs := range r.records {
		for _, rec := range recs {
			if !r.kept[rec] {
				r.delete(rec.name)
			}
		}
	}
	s.fitLimits(&freed)
	if r.missing.Load() >= indexMissing && !s.readOnly.Load() {
		s.running.Go(s.writeIndex)
	}
	return nil
}

func (r *recovery) delete(name string) {
	if r.store.readOnly.Load() {
		return
	}
	if err := r.store.folder.root.RemoveAll(name); err != nil {
		r.store.diskError("delete stray", "", err)
	}
}

// listTree lists the data below dir, with what a stat tells of each file.
func (r *recovery) listTree(dir string) {
	list, err := r.store.folder.list(dir)
	if err != nil {
		r.store.diskError("list directory", "", err)
	}
	r.tree[dir] = list
	for _, d := range list {
		if d.IsDir() && !(dir == "." && isOurs(d.Name())) {
			r.listTree(path.Join(dir, d.Name()))
		}
	}
}

// walk publishes the files below dir that have a record, and deletes the others and the
// directories that nothing needs.
func (r *recovery) walk(dir string) {
	s := r.store
	for _, d := range r.tree[dir] {
		name := path.Join(dir, d.Name())
		if dir == "." && isOurs(d.Name()) {
			continue
		}
		if d.IsDir() {
			r.walk(name)
			if s.names.dirs[name] == 0 {
				r.delete(name)
			}
			continue
		}
		rec := r.claim(name, d)
		if rec == nil || !s.names.adopt(rec.Key, name) {
			s.log.Info("deleting unknown file from cache", "path", name)
			r.delete(name)
			continue
		}
		r.kept[rec] = true
		e := newEntry(rec, rec.object(), rec.used)
		e.noted.Store(rec.used.UnixNano())
		e.stale.Store(r.stale[rec.name])
		s.remember(e)
	}
}

// claim returns the record that a file belongs to, or nil. Usually exactly one looks like it. A crash
// while a version replaced another leaves the records of both, whose times tell them apart. If that
// fails (somebody touched the file, or restored it without its time) the content decides.
func (r *recovery) claim(name string, d fs.DirEntry) *record {
	candidates := r.records[name]
	info, err := d.Info()
	if err != nil || !info.Mode().IsRegular() || len(candidates) == 0 {
		return nil
	}
	var alike []*record
	for _, rec := range candidates {
		if rec.matches(info) {
			alike = append(alike, rec)
		}
	}
	if len(alike) == 1 {
		return alike[0]
	}
	if rec := latest(alike); rec != nil {
		return rec
	}
	rec, err := r.identify(name, info, candidates)
	if err != nil {
		r.store.diskError("verify file", "", err)
	}
	if rec == nil {
		r.store.count.corruptions.Add(1)
		r.store.log.Warn("published file is damaged", "path", name)
	}
	return rec
}

// latest returns the last revision if the records describe the same version, else nil.
func latest(alike []*record) (last *record) {
	for _, rec := range alike {
		switch {
		case last == nil:
			last = rec
		case rec.object().version() != last.object().version():
			return nil
		case rec.Revision > last.Revision:
			last = rec
		}
	}
	return last
}

// identify finds the record of a file's content, and ties it to the file again if its time is wrong.
func (r *recovery) identify(name string, info fs.FileInfo, candidates []*record) (*record, error) {
	digest, err := r.store.folder.digest(name)
	if err != nil {
		return nil, err
	}
	for _, rec := range candidates {
		if rec.SHA256 != digest || rec.SHA256 == (Digest{}) || rec.Size != info.Size() {
			continue
		}
		if rec.matches(info) {
			return rec, nil
		}
		again := newRecord(rec.Key, rec.Path, rec.object(), info.ModTime())
		again.used, again.Meta = rec.used, rec.Meta
		if err := r.store.folder.writeRecord(again); err != nil {
			return nil, err
		}
		return again, nil
	}
	return nil, nil
}

func (f *folder) digest(name string) (Digest, error) {
	file, err := f.root.Open(name)
	if err != nil {
		return Digest{}, err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return Digest{}, err
	}
	return Digest(h.Sum(nil)), nil
}

// readRecords reads all records and deletes what is none.
func (r *recovery) readRecords() {
	var (
		mu      sync.Mutex
		readers errgroup.Group
	)
	r.records = map[string][]*record{}
	readers.SetLimit(max(4, 2*runtime.GOMAXPROCS(0))) // to keep a disk's queue filled
	for i := range 256 {
		readers.Go(func() error {
			recs := r.readRecordsIn(fmt.Sprintf("%s/%02x", metaDir, i))
			mu.Lock()
			defer mu.Unlock()
			for _, rec := range recs {
				r.records[rec.Path] = append(r.records[rec.Path], rec)
			}
			return nil
		})
	}
	readers.Wait() // none returns an error
}

func (r *recovery) readRecordsIn(dir string) []*record {
	sub, err := r.store.folder.root.OpenRoot(dir)
	if err != nil {
		r.store.diskError("open directory", "", err)
		return nil
	}
	defer sub.Close()
	list, err := r.store.folder.list(dir)
	if err != nil {
		r.store.diskError("list directory", "", err)
	}
	recs := make([]*record, 0, len(list))
	for _, d := range list {
		name := path.Join(dir, d.Name())
		if lineage, ok := lineageOf(d.Name()); ok && r.purged[lineage] {
			continue // it could not be deleted
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			if rec := r.indexed(name, info.Size(), info.ModTime()); rec != nil {
				recs = append(recs, rec)
				continue
			}
		}
		r.missing.Add(1)
		rec, err := readRecord(sub, d.Name())
		if err != nil {
			r.store.log.Warn("deleting bad record from cache", "path", name, "err", err)
			r.delete(name)
			continue
		}
		rec.name = name
		rec.lineage, _ = lineageOf(d.Name())
		recs = append(recs, rec)
	}
	return recs
}

// readRecord opens without waiting, lest a pipe somebody left there stop us.
func readRecord(root *os.Root, name string) (*record, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, err
	}
	rec, err := parseRecord(data)
	if err != nil {
		return nil, err
	}
	rec.used, rec.length = info.ModTime(), info.Size()
	return rec, nil
}
