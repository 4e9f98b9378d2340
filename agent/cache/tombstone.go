package cache

import (
	"bytes"
	"encoding/binary"
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

// recoverPurges ends the purges that a crash has cut: data without its record goes as any stray.
func (s *Store) recoverPurges() error {
	list, err := s.folder.list(partDir)
	if err != nil {
		return err
	}
	lineages := map[uint64]bool{}
	for _, d := range list {
		if !strings.HasPrefix(d.Name(), purgePrefix) {
			continue
		}
		text, err := s.folder.root.ReadFile(path.Join(partDir, d.Name()))
		if err != nil {
			return err
		}
		parts, purged := parsePurge(text)
		maps.Copy(lineages, purged)
		for _, part := range parts {
			if err := s.folder.forgetPart(part); err != nil {
				return err
			}
		}
	}
	if len(lineages) > 0 {
		return s.deleteRecords(lineages)
	}
	return nil
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
