package cache

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// record is what a published object's data cannot say by itself. It is written before the data gets
// its name, so data without a record is worthless and a record without its data is no object.
//
// Stored ties the two: it is the data file's modification time, so a file that somebody changed, or
// that a crash left beside another version's record, is noticed without reading it. The record
// file's own modification time is when the object was last used.
type record struct {
	Key      Key       `json:"key"`
	Path     string    `json:"path"`
	Size     int64     `json:"size"`
	SHA256   Digest    `json:"sha256"`
	Chunks   []byte    `json:"chunks"` // their digests, one after the other
	Version  string    `json:"version,omitempty"`
	Meta     []byte    `json:"meta,omitempty"`
	Revision int64     `json:"revision,omitempty"` // of Meta: of two that are else alike, the higher counts
	Modified time.Time `json:"modified,omitzero"`
	Stored   time.Time `json:"stored"`

	name    string    // its own path
	lineage uint64    // in its name: the same for all revisions, and no other record's
	length  int64     // its own, in bytes
	used    time.Time // its own modification time
}

// newRecord names the record. Names are never used twice, so that removing an old version's record
// cannot hit that of a new one. A revision's name says of what it is one, so that a purge takes all of them.
func newRecord(key Key, p string, obj Object, stored time.Time) *record {
	r := &record{Key: key, Path: p, Size: obj.Size, SHA256: obj.SHA256, Version: obj.Version, Modified: obj.Modified, Stored: stored}
	for _, c := range obj.Chunks {
		r.Chunks = append(r.Chunks, c[:]...)
	}
	r.lineage = rand.Uint64()
	id := sha256.Sum256([]byte(key))
	r.name = fmt.Sprintf("%s/%02x/%x.%016x", metaDir, id[0], id[:16], r.lineage)
	return r
}

// lineageOf reads it from the last component of a record's name.
func lineageOf(name string) (uint64, bool) {
	_, rest, _ := strings.Cut(name, ".")
	text, _, _ := strings.Cut(rest, ".")
	lineage, err := strconv.ParseUint(text, 16, 64)
	return lineage, err == nil && len(text) == 16
}

// newRecord describes e anew.
func (e *entry) newRecord(meta []byte) *record {
	r := newRecord(e.key, e.path, e.obj, e.stored)
	filed := e.filed.Load()
	r.Meta, r.Revision, r.lineage = meta, filed.revision+1, e.lineage
	first := filed.name
	if filed.revision > 0 {
		first = strings.TrimSuffix(first, path.Ext(first))
	}
	r.name = fmt.Sprintf("%s.%d", first, r.Revision)
	return r
}

func (f *folder) writeRecord(r *record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	r.length = int64(len(data))
	return f.write(r.name, data)
}

// parseRecord accepts only what newRecord could have written, its path above all.
func parseRecord(data []byte) (*record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if err := errors.Join(r.Key.Validate(), r.object().Validate()); err != nil {
		return nil, err
	}
	if len(r.Chunks)%len(Digest{}) != 0 {
		return nil, fmt.Errorf("%w: %d bytes of digests", ErrBadObject, len(r.Chunks))
	}
	for _, strict := range []bool{false, true} {
		for _, aside := range []bool{false, true} {
			if r.Path == escape(r.Key, strict, aside) {
				return &r, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: %q is not stored at %q", ErrBadKey, r.Key, r.Path)
}

func (r *record) object() Object {
	obj := Object{Size: r.Size, SHA256: r.SHA256, Version: r.Version, Modified: r.Modified}
	if n := len(r.Chunks) / len(Digest{}); n > 0 {
		obj.Chunks = make([]Digest, n)
		for i := range obj.Chunks {
			copy(obj.Chunks[i][:], r.Chunks[i*len(Digest{}):])
		}
	}
	return obj
}

// matches reports whether the file looks like the one the record was written for.
func (r *record) matches(info os.FileInfo) bool {
	return info.Size() == r.Size && info.ModTime().Equal(r.Stored)
}
