package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
)

// purgePrefix begins, in .part, the names of the files that say what is purged, until it is deleted.
const purgePrefix = "purge."

// writePurge makes a purge durable.
func (f *folder) writePurge(gone *forgotten) (name string, err error) {
	name = path.Join(partDir, fmt.Sprintf("%s%d", purgePrefix, f.parts.Add(1)))
	return name, f.write(name, gone.encode())
}

// encode is what Open needs to end the purge: the paths of the part files, a line each, and after an empty one the
// lineages of the records, 8 bytes each.
func (p *forgotten) encode() []byte {
	var text []byte
	for _, j := range p.parts {
		text = append(append(text, j.part...), '\n')
	}
	for _, f := range p.fills {
		if f.partName != "" { // else it never has a journal
			text = append(append(text, f.partName...), '\n')
		}
	}
	text = append(text, '\n')
	for _, e := range p.entries {
		text = binary.BigEndian.AppendUint64(text, e.lineage)
	}
	return text
}

func parsePurge(text []byte) (parts []string, lineages map[uint64]bool) {
	lineages = map[uint64]bool{}
	for {
		line, rest, ok := bytes.Cut(text, []byte("\n"))
		text = rest
		if !ok || len(line) == 0 {
			break
		}
		parts = append(parts, string(line))
	}
	for ; len(text) >= 8; text = text[8:] {
		lineages[binary.BigEndian.Uint64(text)] = true
	}
	return parts, lineages
}

// recoverPurges ends the purges that a crash has cut: data without its record goes as any stray. It returns the
// lineages of the records.
func (s *Store) recoverPurges() map[uint64]bool {
	lineages := map[uint64]bool{}
	list, err := s.folder.list(partDir)
	errs := []error{err}
	for _, d := range list {
		if !strings.HasPrefix(d.Name(), purgePrefix) {
			continue
		}
		text, err := s.folder.root.ReadFile(path.Join(partDir, d.Name()))
		parts, purged := parsePurge(text)
		maps.Copy(lineages, purged)
		errs = append(errs, err)
		for _, part := range parts {
			errs = append(errs, s.folder.forgetPart(part))
		}
	}
	if len(lineages) > 0 {
		errs = append(errs, s.deleteRecords(lineages))
	}
	if err := errors.Join(errs...); err != nil {
		s.diskError("end a purge", "", err)
	}
	return lineages
}

// deleteRecords deletes all records of some lineages.
func (s *Store) deleteRecords(lineages map[uint64]bool) error {
	for i := range 256 {
		dir := fmt.Sprintf("%s/%02x", metaDir, i)
		list, err := s.folder.list(dir)
		if err != nil {
			return err
		}
		found := false
		for _, d := range list {
			if lineage, ok := lineageOf(d.Name()); ok && lineages[lineage] {
				found = true
				if err := s.folder.remove(path.Join(dir, d.Name())); err != nil {
					return err
				}
			}
		}
		if found {
			if err := s.folder.sync(dir); err != nil {
				return err
			}
		}
	}
	return nil
}
