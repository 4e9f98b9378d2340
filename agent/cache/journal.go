package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	journalExt   = ".journal"
	journalBytes = 8 << 20     // brought since the last journal, and
	journalEvery = time.Second // time since then: what makes a new one
)

// journal says what of an unfinished object is on disk. It is written anew after each sync of the data, and
// never names a byte that came after it. The file is one line of JSON and one with its digest.
type journal struct {
	Key      Key       `json:"key"`
	Size     int64     `json:"size"`
	SHA256   Digest    `json:"sha256"`
	Version  string    `json:"version,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	Meta     []byte    `json:"meta,omitempty"`
	Have     segments  `json:"have"`
	Boot     string    `json:"boot,omitempty"` // of a jot: the kernel's name for the time since it was started

	part string // the part file's path
	used time.Time
}

func (j *journal) version() objectVersion {
	return Object{SHA256: j.SHA256, Version: j.Version}.version()
}

func (j *journal) encode() ([]byte, error) {
	line, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(line)
	return fmt.Appendf(nil, "%s\n%x\n", line, sum), nil
}

func parseJournal(data []byte) (*journal, error) {
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	if sum := sha256.Sum256(line); string(rest) != hex.EncodeToString(sum[:])+"\n" {
		return nil, errors.New("journal is damaged")
	}
	var j journal
	if err := json.Unmarshal(line, &j); err != nil {
		return nil, err
	}
	return &j, j.check()
}

func (j *journal) check() error {
	end := int64(0)
	for _, g := range j.Have {
		if g.Begin < end || g.End <= g.Begin || j.Size >= 0 && g.End > j.Size {
			return fmt.Errorf("journal has %v of %d bytes", j.Have, j.Size)
		}
		end = g.End
	}
	return j.Key.Validate()
}

// identity is a journal of f that names nothing.
func (f *fill) identity() *journal {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.identityLocked()
}

func (f *fill) identityLocked() *journal {
	return &journal{
		Key: f.id.key, Size: f.obj.Size, SHA256: f.obj.SHA256, Version: f.obj.Version, Modified: f.obj.Modified, Meta: f.meta,
	}
}

// inventory is what a journal of f would say now; nil if that is nothing.
func (f *fill) inventory() *journal {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.identityLocked()
	j.Have = append(j.Have, f.have...)
	for _, g := range f.unproven {
		j.Have.add(g)
	}
	if len(j.Have) == 0 {
		return nil
	}
	return j
}

// journal writes what is on disk, after it has made sure that it is. It reports whether there was anything.
func (f *fill) journal() (bool, error) {
	f.noting.Lock()
	defer f.noting.Unlock()
	j := f.inventory()
	if j == nil || f.purged.Load() || f.relay.Load() != nil {
		return false, nil
	}
	if err := f.part.Sync(); err != nil {
		return false, f.store.notStored(f, "sync part file", err)
	}
	data, err := j.encode()
	if err == nil {
		err = f.store.folder.write(f.partName+journalExt, data)
	}
	if err != nil {
		return false, f.store.notStored(f, "write journal", err)
	}
	f.store.count.journals.Add(1)
	return true, nil
}

// resumable reports whether a later fill can go on where f ends. mu is held.
func (f *fill) resumable() bool {
	return f.obj.Size != 0 && (!f.id.opaque || f.strong && (f.ranges || f.obj.Size < 0))
}

// keepJournal writes f's journal as it grows, until its streams are over.
func (f *fill) keepJournal() {
	tick := time.NewTicker(journalEvery)
	defer tick.Stop()
	last := f.verified()
	for {
		select {
		case <-f.over:
			return
		case <-tick.C:
		case <-f.due:
		}
		if now := f.verified(); now != last {
			last = now
			if _, err := f.journal(); err != nil {
				if !f.sourceless() {
					f.settle(err)
				}
				return
			}
			tick.Reset(journalEvery)
		}
	}
}

// leaveBehind reports whether f, being over with err, leaves its part file to a later fill.
func (f *fill) leaveBehind(err error) bool {
	f.mu.Lock()
	ok := f.resumable()
	f.mu.Unlock()
	if f.part == nil || !ok || f.purged.Load() || errors.Is(err, ErrNotStored) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrChanged) {
		return false
	}
	kept, err := f.journal()
	return kept && err == nil
}

// adopt makes f go on where j says that another has ended.
func (f *fill) adopt(j *journal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.obj.Chunks == nil {
		f.have = j.Have
		if f.obj.SHA256 == (Digest{}) { // an origin need not say it again
			f.obj.SHA256, f.vouched = j.SHA256, j.SHA256 == Digest{}
		}
		return
	}
	for _, g := range j.Have { // whole chunks only: others cannot be checked
		g.Begin = chunkCount(g.Begin) * ChunkSize
		if g.End != f.obj.Size {
			g.End -= g.End % ChunkSize
		}
		f.unproven.add(g)
	}
}

// prove checks the chunks that a journal names before anybody reads them, those first that somebody waits for.
func (f *fill) prove() {
	buf := f.store.buffers.Get().(*[ChunkSize]byte)
	defer f.store.buffers.Put(buf)
	for {
		f.mu.Lock()
		if f.settled || len(f.unproven) == 0 {
			f.mu.Unlock()
			return
		}
		at := f.unproven[0].Begin
		for r := range f.readers {
			if wanted := r.at - r.at%ChunkSize; f.unproven.from(wanted) > wanted {
				at = wanted
			}
		}
		g := segment{at, at + f.obj.chunkLen(at/ChunkSize)}
		f.mu.Unlock()

		chunk := buf[:g.len()]
		_, err := f.part.ReadAt(chunk, at)
		right := err == nil && Digest(sha256.Sum256(chunk)) == f.obj.Chunks[at/ChunkSize]
		if right {
			f.store.count.resumed.Add(g.len())
			err = f.mark(g, chunk)
		} else {
			f.store.count.corruptions.Add(1)
			err = nil
		}
		f.mu.Lock()
		f.unproven.cut(g)
		f.changed()
		if err != nil {
			f.settleLocked(err)
		}
		f.mu.Unlock()
	}
}
