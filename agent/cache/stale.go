package cache

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// staleFile lists the records of what is marked stale.
const staleFile = metaDir + "/stale"

// MarkStale sets Entry.Stale of the published objects that match accepts (see Purge), durably, until SetMeta
// says that they were found good or another version replaces them. What is left of unfinished ones goes: it has no mark.
// It returns how many were accepted.
func (s *Store) MarkStale(match func(Entry) bool) (int, error) {
	s.marking.Lock()
	defer s.marking.Unlock()
	n := 0
	all, err := s.matching(func(e Entry) bool {
		if e.Stale {
			return true
		}
		if !match(e) {
			return false
		}
		n++
		return true
	})
	if err != nil || n == 0 {
		return 0, err
	}
	if len(all.parts) > 0 {
		s.dropParts(func(j *journal) bool { return slices.Contains(all.parts, j) })
		if err := s.folder.sync(partDir); err != nil {
			s.diskError("remove part files", "", err)
			return n, err
		}
	}
	for _, e := range all.entries {
		e.stale.Store(true)
	}
	if err := s.folder.write(staleFile, recordNames(all.entries)); err != nil {
		s.diskError("write stale marks", "", err)
		return n, err
	}
	return n, nil
}

func recordNames(entries []*entry) []byte {
	var names bytes.Buffer
	for _, e := range entries {
		names.WriteString(e.recordName() + "\n")
	}
	return names.Bytes()
}

// recordsIn reads a list of records' names; a file that is not there lists none.
func (s *Store) recordsIn(file string) (map[string]bool, error) {
	data, err := s.folder.root.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names := map[string]bool{}
	for name := range strings.Lines(string(data)) {
		if name = strings.TrimSuffix(name, "\n"); strings.HasPrefix(name, metaDir+"/") && fs.ValidPath(name) {
			names[name] = true
		}
	}
	return names, nil
}
