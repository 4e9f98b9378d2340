package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"time"
)

// keepParts is how long a part file waits for somebody to go on with it.
const keepParts = 7 * 24 * time.Hour

// newPart is a path for a part file of a version of a key. It is never used twice: what is purged may still be
// written while the key is fetched anew.
func newPart(key Key, obj Object) string {
	return fmt.Sprintf("%s.%016x", partFor(key, obj), rand.Uint64())
}

// partFor begins the paths of the part files of a version of a key. An opaque object's digest is no part of it: not every
// answer of an origin need tell it.
func partFor(key Key, obj Object) string {
	v := obj.version()
	id := sha256.Sum256([]byte(string(key) + "\x00" + v.name + "\x00" + v.digest.String()))
	return path.Join(partDir, hex.EncodeToString(id[:16]))
}

// takePart hands key's part file to a fill of that version; that of another version goes. mu is held.
func (s *Store) takePart(key Key, obj Object, freed *closers) *journal {
	j := s.parts[key]
	if j == nil {
		return nil
	}
	known := j.Size == obj.Size || j.Size < 0 && (obj.Size < 0 || j.Have[len(j.Have)-1].End <= obj.Size)
	if j.version() != obj.version() || !known {
		s.dropPart(j, freed)
		return nil
	}
	s.forgetPart(j)
	return j
}

// rememberPart keeps the part file for a later fill. Of two for a key the later stays. mu is held.
func (s *Store) rememberPart(j *journal, freed *closers) {
	if old := s.parts[j.Key]; old != nil && old.part != j.part {
		if old.used.After(j.used) {
			s.deletePart(j, freed)
			return
		}
		s.dropPart(old, freed)
	}
	s.parts[j.Key] = j
	s.partBytes += j.Have.bytes()
}

func (s *Store) forgetPart(j *journal) {
	delete(s.parts, j.Key)
	s.partBytes -= j.Have.bytes()
}

// dropPart gives up a part file that is remembered. mu is held.
func (s *Store) dropPart(j *journal, freed *closers) {
	s.forgetPart(j)
	s.deletePart(j, freed)
}

// dropParts gives up those that match accepts.
func (s *Store) dropParts(match func(*journal) bool) {
	var freed closers
	defer freed.close() // after mu
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.parts {
		if match(j) {
			s.dropPart(j, &freed)
		}
	}
}

// deletePart deletes a part file, the journals first: what none of them names is worthless.
func (s *Store) deletePart(j *journal, freed *closers) {
	freed.add(s.folder.linger(j.part))
	if err := errors.Join(s.folder.forgetPart(j.part), s.folder.remove(j.part)); err != nil {
		s.diskError("remove part file", j.Key, err)
	}
}

// recoverParts finds the part files that a journal speaks for, and deletes all else beside them.
func (s *Store) recoverParts(freed *closers) {
	if s.readOnly.Load() {
		return // nobody could go on with them
	}
	list, err := s.folder.list(partDir)
	if err != nil {
		s.diskError("list part files", "", err)
	}
	for _, d := range list {
		name := path.Join(partDir, d.Name())
		if path.Ext(name) == journalExt || path.Ext(name) == jotExt || !d.Type().IsRegular() {
			continue
		}
		if j := s.readPart(name); j != nil && time.Since(j.used) < keepParts {
			s.rememberPart(j, freed)
		}
	}
	kept := map[string]bool{}
	for _, j := range s.parts {
		kept[j.part], kept[j.part+journalExt], kept[j.part+jotExt] = true, true, true
	}
	for _, d := range list {
		if name := path.Join(partDir, d.Name()); !kept[name] {
			if err := s.folder.root.RemoveAll(name); err != nil {
				s.diskError("remove part file", "", err)
			}
		}
	}
}

// readPart returns what the journals of a part file say together; nil if neither is of any use.
func (s *Store) readPart(name string) *journal {
	j := s.readJournal(name, journalExt, parseJournal)
	jot := s.readJournal(name, jotExt, parseJot)
	switch {
	case jot == nil || jot.Boot == "" || jot.Boot != s.folder.boot:
		return j
	case j == nil || j.version() != jot.version() || j.Size != jot.Size:
		return jot
	}
	for _, g := range jot.Have {
		j.Have.add(g)
	}
	return j
}

// readJournal returns nil for a journal that is damaged, or whose part file is not what it says.
func (s *Store) readJournal(part, ext string, parse func([]byte) (*journal, error)) *journal {
	data, err := s.folder.root.ReadFile(part + ext)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var j *journal
	if err == nil {
		j, err = parse(data)
	}
	if err != nil {
		s.log.Warn("bad journal in cache", "path", part+ext, "err", err)
		return nil
	}
	j.part = part
	info, err := s.folder.root.Lstat(j.part)
	journaled, jerr := s.folder.root.Lstat(part + ext)
	if err != nil || jerr != nil || !info.Mode().IsRegular() || len(j.Have) == 0 || info.Size() < j.Have[len(j.Have)-1].End ||
		!strings.HasPrefix(j.part, partFor(j.Key, Object{SHA256: j.SHA256, Version: j.Version})+".") {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.diskError("look at part file", j.Key, err)
		}
		return nil
	}
	j.used = journaled.ModTime()
	return j
}
