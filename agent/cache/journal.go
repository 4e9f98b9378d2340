package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

const (
	journalExt   = ".journal"
	journalBytes = 8 << 20     // brought since the last journal, and
	journalEvery = time.Second // time since then: what makes a new one
	// keepParts is how long a part file waits for somebody to go on with it.
	keepParts = 7 * 24 * time.Hour
)

// journal says what of an unfinished object is on disk. It is written anew after each sync of the data, and
// never names a byte that came after it. The file is one line of JSON and one with its digest.
type journal struct {
	Key      Key       `json:"key"`
	Size     int64     `json:"size"`
	SHA256   Digest    `json:"sha256"`
	Version  string    `json:"version,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	Have     segments  `json:"have"`

	part string // the part file's path
	used time.Time
}

func (j *journal) version() objectVersion {
	return Object{SHA256: j.SHA256, Version: j.Version}.version()
}

// partFor is the path of the part file of a version of a key.
func partFor(key Key, obj Object) string {
	id := sha256.Sum256([]byte(string(key) + "\x00" + obj.Version + "\x00" + obj.SHA256.String()))
	return path.Join(partDir, hex.EncodeToString(id[:16]))
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
	end := int64(0)
	for _, g := range j.Have {
		if g.Begin < end || g.End <= g.Begin || g.End > j.Size {
			return nil, fmt.Errorf("journal has %v of %d bytes", j.Have, j.Size)
		}
		end = g.End
	}
	return &j, j.Key.Validate()
}

// journal writes what is on disk, after it has made sure that it is. It reports whether there was anything.
func (f *fill) journal() (bool, error) {
	f.mu.Lock()
	j := &journal{
		Key: f.id.key, Size: f.obj.Size, SHA256: f.obj.SHA256, Version: f.obj.Version, Modified: f.obj.Modified,
		Have: append(segments(nil), f.have...),
	}
	for _, g := range f.unproven {
		j.Have.add(g)
	}
	f.mu.Unlock()
	if len(j.Have) == 0 {
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
func (f *fill) resumable() bool { return f.obj.Size > 0 && (!f.id.opaque || f.ranges) }

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
				f.settle(err)
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
	if f.part == nil || !ok || errors.Is(err, ErrNotStored) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrChanged) {
		return false
	}
	kept, err := f.journal()
	return kept && err == nil
}

// takePart hands key's part file to a fill of that version; that of another version goes. mu is held.
func (s *Store) takePart(key Key, obj Object, freed *closers) *journal {
	j := s.parts[key]
	if j == nil {
		return nil
	}
	if j.version() != obj.version() || j.Size != obj.Size {
		s.dropPart(j, freed)
		return nil
	}
	s.forgetPart(j)
	return j
}

func (s *Store) rememberPart(j *journal, freed *closers) {
	if old := s.parts[j.Key]; old != nil && old.part != j.part {
		s.dropPart(old, freed)
	}
	s.parts[j.Key] = j
	s.partBytes += j.Have.bytes()
}

func (s *Store) forgetPart(j *journal) {
	delete(s.parts, j.Key)
	s.partBytes -= j.Have.bytes()
}

// dropPart deletes a part file, the journal first: what no journal names is worthless. mu is held.
func (s *Store) dropPart(j *journal, freed *closers) {
	freed.add(s.folder.linger(j.part))
	s.forgetPart(j)
	if err := errors.Join(s.folder.remove(j.part+journalExt), s.folder.remove(j.part)); err != nil {
		s.diskError("remove part file", j.Key, err)
	}
}

// recoverParts finds the part files that a journal speaks for, and deletes all else beside them.
func (s *Store) recoverParts(freed *closers) error {
	list, err := s.folder.list(partDir)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, d := range list {
		name := path.Join(partDir, d.Name())
		if !strings.HasSuffix(name, journalExt) || !d.Type().IsRegular() {
			continue
		}
		if j := s.readJournal(name); j != nil && time.Since(j.used) < keepParts {
			s.rememberPart(j, freed)
			kept[name], kept[j.part] = true, true
		}
	}
	for _, d := range list {
		if name := path.Join(partDir, d.Name()); !kept[name] {
			if err := s.folder.root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// readJournal returns nil for a journal that is damaged, or whose part file is not what it says.
func (s *Store) readJournal(name string) *journal {
	data, err := s.folder.root.ReadFile(name)
	var j *journal
	if err == nil {
		j, err = parseJournal(data)
	}
	if err != nil {
		s.log.Warn("deleting bad journal from cache", "path", name, "err", err)
		return nil
	}
	j.part = strings.TrimSuffix(name, journalExt)
	info, err := s.folder.root.Lstat(j.part)
	journaled, jerr := s.folder.root.Lstat(name)
	if err != nil || jerr != nil || !info.Mode().IsRegular() || len(j.Have) == 0 || info.Size() < j.Have[len(j.Have)-1].End ||
		j.part != partFor(j.Key, Object{SHA256: j.SHA256, Version: j.Version}) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.diskError("look at part file", j.Key, err)
		}
		return nil
	}
	j.used = journaled.ModTime()
	return j
}

// adopt makes f go on where j says that another has ended.
func (f *fill) adopt(j *journal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.obj.Chunks == nil {
		f.have = j.Have
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
