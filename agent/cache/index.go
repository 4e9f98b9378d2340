package cache

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"io/fs"
	"path"
	"time"
)

const (
	indexFile    = ".index"
	indexVersion = "pureboot-cache-index-1\n"
	indexMissing = 1000 // records that were not in the index: so many make it worth writing at once
)

// indexed is a record as the index has it. Records never change: a name and a length that are found on disk are
// the record that is here. So the index cannot be wrong, only incomplete: it spares Open the reading of
// 100,000 small files, and what is not in it is read from them.
type indexed struct {
	Name   string
	Length int64 // of the record's file, in bytes
	Record record
}

// readIndex returns the index by records' names; nil if it is missing or damaged.
func (s *Store) readIndex() map[string]*indexed {
	data, err := s.folder.root.ReadFile(indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	list, err := parseIndex(data)
	if err != nil {
		s.log.Warn("cache index is damaged, reading the records", "err", err)
		return nil
	}
	byName := make(map[string]*indexed, len(list))
	for i := range list {
		byName[list[i].Name] = &list[i]
	}
	return byName
}

func parseIndex(data []byte) (list []indexed, err error) {
	body, ours := bytes.CutPrefix(data, []byte(indexVersion))
	if !ours || len(body) < sha256.Size {
		return nil, errors.New("not an index")
	}
	sum, body := body[:sha256.Size], body[sha256.Size:]
	if Digest(sha256.Sum256(body)) != Digest(sum) {
		return nil, errors.New("index has the wrong digest")
	}
	return list, gob.NewDecoder(bytes.NewReader(body)).Decode(&list)
}

// writeIndex writes what is published by now. It may fail without harm.
func (s *Store) writeIndex() {
	s.mu.RLock()
	list := make([]indexed, 0, len(s.entries))
	for _, e := range s.entries {
		list = append(list, e.indexed())
	}
	s.mu.RUnlock()
	var body bytes.Buffer
	out := bufio.NewWriter(&body)
	err := gob.NewEncoder(out).Encode(list)
	if err == nil {
		out.Flush()
		sum := sha256.Sum256(body.Bytes())
		err = s.folder.write(indexFile, bytes.Join([][]byte{[]byte(indexVersion), sum[:], body.Bytes()}, nil))
	}
	if err != nil {
		s.diskError("write index", "", err)
	}
}

func (e *entry) indexed() indexed {
	filed := e.filed.Load()
	r := newRecord(e.key, e.path, e.obj, e.stored)
	r.name, r.Revision, r.Meta = filed.name, filed.revision, *e.meta.Load()
	return indexed{Name: filed.name, Length: filed.length, Record: *r}
}

// indexed returns what the index has of the record of that name and length; nil if it has nothing.
func (r *recovery) indexed(name string, length int64, used time.Time) *record {
	known := r.index[name]
	if known == nil || known.Length != length {
		return nil
	}
	rec := known.Record
	rec.name, rec.length, rec.used = name, length, used
	rec.lineage, _ = lineageOf(path.Base(name))
	return &rec
}
